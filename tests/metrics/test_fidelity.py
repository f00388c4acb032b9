"""FID and KID against their formulas, intervals against known values."""

import numpy as np
import pytest
import torch

from aid_pipeline.errors import MetricsError
from aid_pipeline.metrics.fidelity import fid, fidelity, kid
from aid_pipeline.metrics.intervals import Estimate, bootstrap_groups, bootstrap_mean

pytest.importorskip("torchmetrics")


def draw(count: int, size: int = 4, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) + shift


def test_fid_is_the_frechet_distance():
    from scipy.linalg import sqrtm

    a, b = draw(40), draw(40, seed=1, shift=0.5) * 1.5
    x, y = a.double().numpy(), b.double().numpy()
    means = ((x.mean(0) - y.mean(0)) ** 2).sum()
    covariances = np.cov(x.T), np.cov(y.T)
    root = sqrtm(covariances[0] @ covariances[1])
    expected = means + np.trace(covariances[0] + covariances[1] - 2 * root.real)
    assert fid(a, b) == pytest.approx(expected, rel=1e-9)


def test_fid_of_a_shift_alone():
    a = draw(30)
    assert fid(a, a) == pytest.approx(0, abs=1e-5)
    assert fid(a, a + torch.tensor([3.0, 0, 4.0, 0])) == pytest.approx(25, rel=1e-5)


def test_kid_is_the_unbiased_mmd():
    a, b = draw(9).double(), draw(9, seed=1, shift=0.4).double()
    total = 0.0
    for i in range(9):
        for j in range(9):
            kernel = [(float(u @ v) / 4 + 1) ** 3 for u, v in ((a[i], a[j]), (b[i], b[j]), (a[i], b[j]))]
            total += (kernel[0] + kernel[1]) / (9 * 8) * (i != j) - 2 * kernel[2] / 81
    assert kid(a, b) == pytest.approx(total, rel=1e-9)


def test_kid_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = kid(draw(12), draw(9, seed=1))
    assert torch.equal(torch.rand(3), expected)
    assert kid(draw(12), draw(9, seed=1)) == first


def test_fid_of_unequal_counts_is_refused():
    with pytest.raises(MetricsError, match="10 against 12 images"):
        fid(draw(10), draw(12))
    assert fid(draw(10), draw(12), equal_counts=False) > 0


@pytest.mark.parametrize(
    ("reference", "measured", "said"),
    [
        (draw(1), draw(1), "n >= 2"),
        (draw(3), draw(3, size=5), "differ in size"),
        (draw(3) / 0, draw(3), "NaN or infinity"),
        (draw(3)[0], draw(3), "n >= 2"),
    ],
)
def test_features_are_checked(reference, measured, said):
    with pytest.raises(MetricsError, match=said):
        fid(reference, measured)


def test_fidelity_of_sequences():
    endpoints = [draw(2, seed=seed) for seed in range(12)]
    same = [draw(5, seed=100 + seed) for seed in range(12)]
    shifted = [features + 2 for features in same]
    near = fidelity(endpoints, same, "drawn", resamples=30)
    far = fidelity(endpoints, shifted, "drawn", resamples=30)
    assert near.counts == (24, 24, 60)
    assert near.features == "drawn"
    assert not near.few
    assert near.fid.count == 12
    assert far.fid.value > near.fid.value + 10
    assert far.kid.value > near.kid.value
    assert near.fid.low < near.fid.value < near.fid.high
    assert far.fid_all == pytest.approx(fid(torch.cat(endpoints), torch.cat(shifted), equal_counts=False))
    few = fidelity([draw(2, size=64)], [draw(5, size=64)], "drawn")
    assert few.few
    assert few.kid.low is None


@pytest.mark.parametrize(("size", "few"), [(7, False), (8, True), (9, True)])
def test_few_images_are_those_whose_covariance_has_no_full_rank(size, few):
    """n images about their mean span n - 1 directions at most: 8 of them are too few for 8 features."""
    endpoints, interior = ([draw(count, seed=seed, size=size) for seed in range(4)] for count in (2, 3))
    centred = torch.cat(endpoints) - torch.cat(endpoints).mean(0)
    assert (torch.linalg.matrix_rank(centred) < size) == few
    assert fidelity(endpoints, interior, "drawn", resamples=0).few == few


def test_fidelity_needs_frames_between():
    with pytest.raises(MetricsError, match="only 2 frames"):
        fidelity([draw(2)], [draw(0)], "drawn")
    with pytest.raises(MetricsError, match="at least 2 images"):
        fidelity([draw(2)], [draw(1)], "drawn")
    with pytest.raises(MetricsError, match="needs sequences"):
        fidelity([], [], "drawn")


def test_the_mean_and_its_interval():
    values = draw(200).flatten().tolist()[:200]
    found = bootstrap_mean(values)
    assert found.value == pytest.approx(np.mean(values))
    error = np.std(values) / np.sqrt(200)
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.3 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.3 * error)
    assert found == bootstrap_mean(values)  # seeded
    assert bootstrap_mean([2.0]) == Estimate(2.0, None, None, 1)
    assert bootstrap_mean([2.0, 2.0]) == Estimate(2.0, 2.0, 2.0, 2)
    for wrong in ([], [1.0, float("nan")]):
        with pytest.raises(MetricsError):
            bootstrap_mean(wrong)


def test_intervals_of_groups_are_about_the_value():
    values = draw(50).flatten().numpy()
    found = bootstrap_groups(lambda index: float(values[index].mean()), 50, resamples=400)
    assert found.value == pytest.approx(values[:50].mean(), abs=1e-6)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * values[:50].std() / np.sqrt(50), rel=0.2)


def test_what_an_interval_decides():
    assert Estimate(1.0, 0.5, 1.5, 9).sign == 1
    assert Estimate(-1.0, -1.5, -0.5, 9).sign == -1
    assert Estimate(1.0, -0.5, 1.5, 9).sign == 0
    assert Estimate(1.0, None, None, 1).sign == 0
    assert Estimate(0.75314, 0.74, 0.7699, 9).text() == "0.7531 [0.7400, 0.7699]"

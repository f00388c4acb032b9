"""Even spacing by arc length, on curves whose inverse is known."""

import numpy as np
import pytest
from scipy.stats import beta

from aid_pipeline import BetaPrior
from aid_pipeline.coefficients import frame_coefficients
from aid_pipeline.errors import CoefficientsError, SelectionError
from aid_pipeline.selection.retiming import even_by_prior, even_coefficients, lengths, propose_even


@pytest.mark.parametrize("frames", [2, 3, 9, 40])
def test_a_known_way_is_inverted(frames):
    t = np.linspace(0, 1, 25)
    found = even_coefficients(t, np.diff(t**2), frames)  # s = t^2, so t = sqrt(s)
    assert found[0] == 0
    assert found[-1] == 1
    assert found == pytest.approx(np.sqrt(np.linspace(0, 1, frames)), abs=2e-3)


def test_what_is_even_stays():
    t = [0.0, 0.1, 0.5, 0.9, 1.0]
    assert even_coefficients(t, [1, 1, 1, 1], 5) == pytest.approx(t)


def test_never_decreasing_whatever_is_measured():
    rng = np.random.default_rng(0)
    for _ in range(50):
        t = np.unique([0, *rng.random(6), 1])
        found = even_coefficients(t, rng.random(len(t) - 1) ** 8, 20)
        assert (np.diff(found) >= 0).all()


def test_equal_images_are_passed_over():
    assert even_coefficients([0, 0.4, 0.6, 1], [0.0, 0.0, 0.0], 5) == (0, 0.25, 0.5, 0.75, 1)
    found = even_coefficients([0, 0.4, 0.6, 1], [1.0, 0.0, 1.0], 3)
    assert 0.4 <= found[1] <= 0.6
    assert even_coefficients([0, 0.5, 1], [1.0, 0.0], 3)[1] <= 0.5
    for d in ([0.0, 5e-324], [5e-324, 1.0], [1e-300, 1.0]):  # next to nothing is no movement, alone it is all there is
        assert even_coefficients([0, 0.5, 1], d, 5) == pytest.approx((0, 0.625, 0.75, 0.875, 1))
    still = even_coefficients([0, 0.5, 1], [0.0, 1.0], 5)
    assert still == pytest.approx((0, 0.625, 0.75, 0.875, 1))
    t, d = [0, 0.2, 0.4, 0.5, 0.8, 1], [0.0, 1.0, 0.0, 2.0, 0.0]
    assert even_coefficients(t, d, 4) == pytest.approx((0, 0.4, 0.65, 1))
    assert all(0.2 < x <= 0.4 or 0.5 < x <= 0.8 for x in even_coefficients(t, d, 10)[1:-1])


@pytest.mark.parametrize("power", [1.0, 2.0, 1.5])
def test_lengths_add_up(power):
    place = np.cumsum([0, 0.1, 0.3, 0.05, 0.4, 0.2])
    found = lengths(abs(np.diff(place)) ** power, abs(place[2:] - place[:-2]) ** power)
    assert found == pytest.approx(np.diff(place))
    assert lengths([0.5, 0.0], [0.5]) == [0.5, 0.0]  # nothing to tell from
    assert lengths([0.9, 0.9], [1.0]) == [0.9, 0.9]  # saturated: as they are


def test_frames_are_proposed_where_even_spacing_lacks_them():
    t, d = [0, 0.25, 0.5, 0.75, 1], [1.0, 1.0, 1.0, 3.0]
    assert propose_even(t, d, 7, 9, 0.01) == pytest.approx([0.875, 0.965], abs=0.001)  # the other five are there
    assert len(propose_even(t, d, 7, 1, 0.01)) == 1
    assert propose_even(t, d, 7, 9, 0.2) == []


@pytest.mark.parametrize("prior", [BetaPrior(40, 20), BetaPrior(2, 9), BetaPrior(300, 300), BetaPrior(1, 1)])
def test_a_prior_says_what_lies_in_wide_gaps(prior):
    """Change that follows the prior is spaced evenly from any frames, as the prior alone would."""
    for t in ([0, 1], [0, 0.5, 1], [0, 0.3, 0.41, 0.6, 1]):
        d = np.diff(beta.cdf(t, prior.alpha, prior.beta))
        assert even_by_prior(t, d, 7, prior) == pytest.approx(frame_coefficients(prior, 7), abs=1e-6)


def test_a_prior_where_nothing_changes():
    assert even_by_prior([0, 0.4, 1], [0.0, 0.0], 5, BetaPrior(3, 3)) == (0, 0.25, 0.5, 0.75, 1)
    found = even_by_prior([0, 0.4, 0.6, 1], [1.0, 0.0, 1.0], 5, BetaPrior(3, 3))
    assert 0 < found[1] < 0.4 <= found[2] <= 0.6 < found[3] < 1
    steep = even_by_prior([0, 0.9, 1], [0.1, 0.9], 5, BetaPrior(5000, 5000))  # F is 1 from 0.6 on: the way in t
    assert np.all(np.diff(steep) > 0)
    assert propose_even([0, 0.5, 1], [0, 0], 7, 9, 0.01) == []


@pytest.mark.parametrize("d", [[1.0], [1.0, -1.0], [1.0, float("inf")]])
def test_wrong_distances(d):
    with pytest.raises(SelectionError, match="need 2 finite distances"):
        even_coefficients([0, 0.5, 1], d, 4)


def test_too_few_frames():
    with pytest.raises(CoefficientsError, match="frames must be"):
        even_coefficients([0, 0.5, 1], [1, 1], 1)

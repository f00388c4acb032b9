"""Smoothness and its kin against values worked out by hand."""

import pytest
import torch

from aid_pipeline.errors import DistanceError, IncomparableError, MetricsError
from aid_pipeline.metrics.images import as_tensor, cross_fade
from aid_pipeline.metrics.step_distances import (
    StepMeasures,
    check_comparable,
    consistency,
    gini,
    smoothness,
    step_measures,
)

from ..support.images import moving_square, pixel_distance


def brute_gini(d: list[float]) -> float:
    return sum(abs(a - b) for a in d for b in d) / (2 * len(d) * sum(d))


def test_gini_by_hand():
    # |1-3| twice in the double sum: 4 / (2 * 2 * 4)
    assert gini([1, 3]) == pytest.approx(0.25)
    assert smoothness([1, 3]) == pytest.approx(0.75)
    # 1, 2, 3, 4: differences sum to 2 * (3*1 + 2*2 + 1*3) = 20; 20 / (2 * 4 * 10)
    assert gini([4, 1, 3, 2]) == pytest.approx(0.25)
    assert consistency([4, 1, 3, 2]) == 2.5


def test_gini_is_the_double_sum():
    generator = torch.Generator().manual_seed(3)
    for count in (1, 2, 6, 14):
        d = torch.rand(count, generator=generator, dtype=torch.float64).tolist()
        assert gini(d) == pytest.approx(brute_gini(d), abs=1e-15)


def test_smoothness_lies_between_one_over_n_and_one():
    assert smoothness([0.3] * 6) == pytest.approx(1)
    assert smoothness([0, 0, 0, 0, 0, 2.0]) == pytest.approx(1 / 6)
    assert smoothness([0.0, 0.0]) == 1


@pytest.mark.parametrize("wrong", [[], [1, -1], [1, float("nan")], [float("inf")]])
def test_distances_must_be_distances(wrong):
    with pytest.raises(MetricsError, match="distance"):
        smoothness(wrong)


def test_measures_of_a_sequence():
    """Steps of 2, 2, 8 and 2 pixels of a square of 8x8: what differs is twice 8 times the step."""
    images = as_tensor(moving_square())
    measures = step_measures(pixel_distance, images)
    colour = sum(abs(a - b) for a, b in zip((250, 200, 30), (20, 40, 60), strict=True)) / 3 / 255
    step = 2 * 8 * 2 * colour / 32**2
    assert measures.distances == pytest.approx([step, step, 4 * step, step], rel=1e-5)
    assert measures.worst_pair == (2, 3)
    assert measures.largest_step == pytest.approx(4 * step, rel=1e-5)
    assert measures.consistency == pytest.approx(7 / 4 * step, rel=1e-5)
    # sum of differences: 2 * 3 * 3 steps; over 2 * 4 * 7 steps
    assert measures.smoothness == pytest.approx(1 - 18 / 56, rel=1e-5)
    # after 14 pixels the squares lie apart, so their distance is that of 8 pixels
    assert measures.path_ratio == pytest.approx(7 / 4, rel=1e-5)
    assert measures.distance == "pixels (of a test)"
    assert measures.figures()["worst_pair"] == [2, 3]


def test_a_cross_fade_beats_every_sequence():
    images = as_tensor(moving_square())
    fade = cross_fade(images)
    assert torch.equal(fade[0], images[0])
    assert torch.equal(fade[-1], images[-1])
    measures = step_measures(pixel_distance, fade)
    assert measures.smoothness == pytest.approx(1, abs=1e-5)
    assert measures.path_ratio == pytest.approx(1, abs=1e-5)
    assert measures.consistency < step_measures(pixel_distance, images).consistency


def test_equal_ends_have_no_path_ratio():
    images = as_tensor(moving_square(3))
    there_and_back = torch.cat([images[:2], images[:1]])
    assert step_measures(pixel_distance, there_and_back).path_ratio is None


def test_smoothness_of_other_lengths_is_refused():
    short, long = StepMeasures((1.0, 2.0), 3.0, "a"), StepMeasures((1.0, 2.0, 1.0), 3.0, "a")
    check_comparable([short, short])
    with pytest.raises(IncomparableError, match="3, 4 frames"):
        check_comparable([short, long])
    with pytest.raises(IncomparableError, match="different distances"):
        check_comparable([short, StepMeasures((1.0, 2.0), 3.0, "b")])


def test_a_single_frame_and_a_wrong_distance():
    images = as_tensor(moving_square(3))
    with pytest.raises(MetricsError, match="at least 2 frames, got 1"):
        step_measures(pixel_distance, images[:1])
    with pytest.raises(DistanceError, match=">= 0"):
        step_measures(lambda a, b: -pixel_distance(a, b), images)

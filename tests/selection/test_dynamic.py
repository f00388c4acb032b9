"""Dynamic selection on images that are known curves, without a model."""

import itertools
import logging

import numpy as np
import pytest
import torch
from scipy.stats import beta

from aid_pipeline.errors import SelectionError
from aid_pipeline.selection import Selection
from aid_pipeline.selection.dynamic import first_round, planned_rounds, round_size, select_dynamically


class Gallery:
    """Images whose brightness follows `curve`, and the distance that reads it off; keeps what was asked for."""

    def __init__(self, curve):
        self.curve, self.made, self.measured = curve, [], 0

    def make(self, coefficients):
        self.made.append(tuple(coefficients))
        return torch.tensor([float(self.curve(t)) for t in coefficients]).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)

    def squares(self, first, second):
        return (first - second).square().mean((1, 2, 3))

    def brightness(self, first, second):
        self.measured += len(first)
        return (first - second).abs().mean((1, 2, 3))


def spread(curve, t):
    steps = np.diff([curve(x) for x in t])
    return max(steps) - min(steps)


def late(t):
    return beta.cdf(t, 40, 20)


def test_a_late_transition_is_spaced_evenly():
    gallery = Gallery(late)
    choice = select_dynamically(gallery.make, gallery.brightness, 7, Selection())
    asked = [t for round in gallery.made for t in round]
    assert len(asked) == len(set(asked)) == 10
    assert gallery.made[0] == first_round(10, None, None)
    assert [len(round) for round in gallery.made] == [6, 4]
    assert choice.rounds == tuple(gallery.made)
    assert sorted(asked) == list(choice.explored)
    assert len(choice.coefficients) == 7
    assert (choice.coefficients[0], choice.coefficients[-1]) == (0, 1)
    assert choice.coefficients == tuple(choice.explored[i] for i in choice.kept)
    assert choice.distances == pytest.approx(np.diff([late(t) for t in choice.coefficients]), abs=1e-6)
    assert spread(late, choice.coefficients) < spread(late, np.linspace(0, 1, 7)) / 3
    assert choice.fits[-1] == pytest.approx((40, 20), rel=0.2)
    assert not choice.jumps
    assert choice.distance == "brightness"


def test_pairs_are_measured_once():
    gallery = Gallery(late)
    select_dynamically(gallery.make, gallery.brightness, 7, Selection())
    assert gallery.measured <= len(list(itertools.combinations(range(10), 2))) + 9  # gaps later split, and the matrix


def test_no_other_choice_of_the_explored_frames_is_more_uniform():
    gallery = Gallery(lambda t: beta.cdf(t, 2, 9))
    choice = select_dynamically(gallery.make, gallery.brightness, 6, Selection(explore=11))
    inner = itertools.combinations(choice.explored[1:-1], 4)
    assert spread(gallery.curve, choice.coefficients) == pytest.approx(
        min(spread(gallery.curve, (0, *some, 1)) for some in inner), abs=1e-6
    )


def test_one_at_a_time_as_in_the_paper():
    gallery = Gallery(late)
    choice = select_dynamically(gallery.make, gallery.brightness, 7, Selection(per_round=1, placing="halves"))
    assert [len(round) for round in choice.rounds] == [3] + [1] * 7
    assert choice.rounds[1] == (pytest.approx(0.6405638352103529),)  # the first split under Beta(3, 3)


def test_rounds_are_few_and_fit_a_call():
    """A round is a run of the denoiser, so 1.5 m frames take two; `per_round` asks for more, that know more."""
    for frames in range(3, 65):
        assert planned_rounds(Selection().explored(frames), None, None) == 2
    assert first_round(10, None, None) == pytest.approx((0, *beta.ppf(np.arange(1, 5) / 5, 3, 3), 1))
    assert len(first_round(4, None, None)) == 3
    assert len(first_round(10, None, 3)) == 5
    assert round_size(6, 10, None, None) == 4
    assert round_size(6, 40, None, 3) == 3
    assert first_round(10, 1, None) == (0, 0.5, 1)
    assert [round_size(made, 22, 8, None) for made in (3, 4, 6, 9, 13, 19, 22)] == [1, 2, 3, 4, 6, 3, 0]
    assert round_size(9, 22, 3, None) == 3
    assert round_size(9, 22, 3, 2) == 2
    for wanted, per_round, most in ((10, None, None), (10, 1, None), (40, None, 4)):
        gallery = Gallery(late)
        settings = Selection(explore=wanted, per_round=per_round, min_gap=0.001)
        select_dynamically(gallery.make, gallery.brightness, 4, settings, most)
        assert len(gallery.made) == planned_rounds(wanted, per_round, most)


def test_a_jump_is_said_and_recorded(caplog):
    gallery = Gallery(lambda t: 0.02 * t + 0.9 * (t > 0.3217))
    with caplog.at_level(logging.WARNING):
        choice = select_dynamically(gallery.make, gallery.brightness, 7, Selection(per_round=1))
    ((low, high, apart),) = choice.jumps
    assert low <= 0.3217 < high
    assert 0.01 <= high - low < 0.02
    assert apart == pytest.approx(0.9, abs=0.01)
    assert "jumps: 98 % of the whole change" in caplog.text
    assert min(np.diff(choice.explored)) >= 0.01 - 1e-12
    assert choice.record()["jumps"] == [[low, high, apart]]


@pytest.mark.parametrize("frames", [3, 4, 7])
def test_images_that_stand_still_and_jump(frames, caplog):
    """Nothing but one step: every round after the first ones looks into the gap that holds it."""
    gallery = Gallery(lambda t: float(t > 0.437))
    settings = Selection(per_round=2, explore=24)
    with caplog.at_level(logging.WARNING):
        choice = select_dynamically(gallery.make, gallery.brightness, frames, settings)
    ((low, high, apart),) = choice.jumps
    assert low <= 0.437 < high
    assert high - low < 2 * settings.gap(frames)
    assert apart == 1
    assert f"with min_gap={settings.gap(frames):g}" in caplog.text


def test_what_only_min_gap_makes_uneven():
    """A steep way is no jump: a smaller `min_gap` spaces it evenly, which the message leaves open."""

    def steep(t):
        return 1 / (1 + np.exp(-300 * (t - 0.6)))

    gallery = Gallery(steep)
    coarse = select_dynamically(gallery.make, gallery.brightness, 9, Selection(per_round=8, min_gap=0.02))
    assert coarse.jumps
    assert "with min_gap=0.02. If it jumps with a smaller one too" in coarse.messages()[0]
    gallery = Gallery(steep)
    fine = select_dynamically(gallery.make, gallery.brightness, 9, Selection(per_round=8, min_gap=0.0005, explore=24))
    assert not fine.jumps
    assert spread(steep, fine.coefficients) < spread(steep, coarse.coefficients) / 3


def test_a_wide_gap_that_holds_much_is_said():
    """Two rounds do not always find where it happens: no jump is known, but the step that is left is said."""
    gallery = Gallery(lambda t: 0.02 * t + 0.9 * (t > 0.3217))
    choice = select_dynamically(gallery.make, gallery.brightness, 7, Selection())
    assert not choice.jumps
    (message,) = choice.messages()
    assert (
        "% of the whole change, and no frame was tried there; per_round=8 or a larger explore looks closer" in message
    )
    low, high = max(zip(choice.explored_distances, itertools.pairwise(choice.explored), strict=True))[1]
    assert f"t = {low:.4f} and {high:.4f}" in message
    assert high - low >= 0.02
    even = select_dynamically(gallery.make, lambda a, b: (a - b).abs().mean((1, 2, 3)) * 0, 5, Selection())
    assert not even.messages()


@pytest.mark.parametrize("kind", ["brightness", "squares"])
@pytest.mark.parametrize("frames", [4, 5, 7, 15])
@pytest.mark.parametrize(("per_round", "of_a_step"), [(None, 0.6), (8, 0.1)])
def test_what_is_even_already_stays_so(frames, kind, per_round, of_a_step):
    """By two rounds roughly, the first of which is not even; by more of them nearly."""
    gallery = Gallery(lambda t: 0.8 * t)
    choice = select_dynamically(gallery.make, getattr(gallery, kind), frames, Selection(per_round=per_round))
    assert spread(gallery.curve, choice.coefficients) < of_a_step * 0.8 / (frames - 1)


def test_a_distance_that_is_a_square_is_spaced_as_well():
    gallery = Gallery(late)
    choice = select_dynamically(gallery.make, gallery.squares, 7, Selection())
    assert spread(late, choice.coefficients) < spread(late, np.linspace(0, 1, 7)) / 3


@pytest.mark.parametrize("placing", ["even", "halves"])
def test_two_transitions_of_different_sizes(placing):
    gallery = Gallery(lambda t: 0.7 * beta.cdf(t, 4, 9) + 0.3 * beta.cdf(t, 20, 6))
    choice = select_dynamically(gallery.make, gallery.brightness, 7, Selection(placing=placing))
    assert spread(gallery.curve, choice.coefficients) < 0.6 * spread(gallery.curve, np.linspace(0, 1, 7))


def test_equal_images_are_no_trouble():
    gallery = Gallery(lambda t: 0.5)
    choice = select_dynamically(gallery.make, gallery.brightness, 5, Selection())
    assert len(choice.coefficients) == 5
    assert choice.distances == (0, 0, 0, 0)
    assert not choice.jumps


def test_the_same_again():
    first, second = (select_dynamically(g.make, g.brightness, 9, Selection()) for g in (Gallery(late), Gallery(late)))
    assert first == second


@pytest.mark.parametrize(
    ("settings", "frames", "said"),
    [
        ({}, 2, "frames >= 3"),
        ({"explore": 6}, 7, "explore at least 7"),
        ({"min_gap": 0.2}, 7, "leaves no room for 10"),
        ({"method": "best"}, 7, "dynamic, bayes"),
        ({"explore": 2}, 7, "explore must be"),
        ({"explore": 10.0}, 7, "explore must be"),
        ({"placing": "random"}, 7, "placing must be one of"),
        ({"per_round": 0}, 7, "per_round must be"),
        ({"per_round": True}, 7, "per_round must be"),
        ({"steps": -1}, 7, "steps must be"),
        ({"min_gap": 0}, 7, "min_gap must be"),
        ({"min_gap": float("nan")}, 7, "min_gap must be"),
        ({"distance": 3}, 7, "distance must be"),
        ({"method": "bayes", "explore": 9}, 7, "explore is of method"),
    ],
)
def test_wrong_settings(settings, frames, said):
    with pytest.raises(SelectionError, match=said):
        Selection(**settings).check(frames)


def test_many_frames_get_a_smaller_floor():
    assert Selection().gap(7) == 0.01
    for frames in (3, 7, 15, 64, 200):
        Selection().check(frames)
        assert Selection().explored(frames) <= 1.5 * frames

"""Coefficients: what the paper's formula gives, and every way they can be wrong."""

import json

import numpy as np
import pytest
from scipy.stats import beta

from aid_pipeline.coefficients import BetaPrior, frame_coefficients, uniform
from aid_pipeline.errors import AIDError, ArgumentError, CoefficientsError

NAN = float("nan")


def test_uniform():
    assert uniform(2) == (0.0, 1.0)
    assert uniform(5) == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert frame_coefficients(None, 5) == uniform(5)


@pytest.mark.parametrize(("a", "b"), [(1, 1), (3, 3), (0.5, 0.5), (37.62, 23.96), (2, 9)])
@pytest.mark.parametrize("frames", [2, 3, 7, 15])
def test_beta_prior_inverts_the_cumulative_distribution(a, b, frames):
    t = BetaPrior(a, b).coefficients(frames)
    assert t[0] == 0
    assert t[-1] == 1
    np.testing.assert_allclose(beta.cdf(t, a, b), np.linspace(0, 1, frames), atol=1e-12)


def test_beta_prior_of_one_is_uniform_and_equal_parameters_are_symmetric():
    np.testing.assert_allclose(BetaPrior(1, 1).coefficients(7), uniform(7), atol=1e-15)
    t = np.array(BetaPrior(4, 4).coefficients(9))
    np.testing.assert_allclose(t, 1 - t[::-1], atol=1e-12)


def test_beta_prior_agrees_with_the_published_logs():
    # the first split of [0.5, 1] under Beta(3, 3): three quarters of the distribution
    assert BetaPrior(3, 3).coefficients(5)[3] == pytest.approx(0.6405638352103529, abs=1e-14)


@pytest.mark.parametrize("kind", [list, tuple, np.array, iter])
def test_explicit_coefficients_of_any_kind(kind):
    assert frame_coefficients(kind([0, 0.25, 0.25, 1]), 4) == (0.0, 0.25, 0.25, 1.0)


@pytest.mark.parametrize(
    ("value", "frames", "said"),
    [
        ([0, 0.5, 1], 4, "got 3 .* frames=4"),
        ([0, NAN, 1], 3, "number 1 is nan"),
        ([0, 0.6, 0.5, 1], 4, "number 2 is 0.5 after 0.6"),
        ([0, 1.2, 1], 3, "number 1 is 1.2"),
        ([-0.1, 0.5, 1], 3, "number 0 is -0.1"),
        ([0.1, 0.5, 1], 3, "start at 0"),
        ([0, 0.5, 0.9], 3, "end at 1"),
        (["a", "b"], 2, "must be numbers"),
        ("01", 2, "must be numbers"),
        (0.5, 2, "must be numbers"),
        ([0, 1, 2j], 3, "must be numbers"),
    ],
    ids=str,
)
def test_wrong_coefficients_are_named(value, frames, said):
    with pytest.raises(CoefficientsError, match=said):
        frame_coefficients(value, frames)


@pytest.mark.parametrize("frames", [1, 0, -3, 2.0, True, None, "7"])
def test_frames_are_a_whole_number_of_at_least_two(frames):
    with pytest.raises(CoefficientsError, match="frames must be"):
        frame_coefficients(None, frames)


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, -2), (NAN, 1), (float("inf"), 1), ("3", 3), (True, 1)])
def test_wrong_parameters_of_a_beta_prior(a, b):
    with pytest.raises(AIDError, match="positive number"):
        BetaPrior(a, b)


@pytest.mark.parametrize("text", ["3,3", " 0.5, 2 ", "37.62,23.96"])
def test_a_beta_prior_of_a_text_and_through_json(text):
    prior = BetaPrior.parse(text)
    assert (prior.alpha, prior.beta) == tuple(float(part) for part in text.split(","))
    assert BetaPrior.from_json(json.loads(json.dumps(prior.to_json()))) == prior


@pytest.mark.parametrize(("text", "said"), [("3", "'3'"), ("1,2,3", "'1,2,3'"), ("3,x", "'x' is not a number")])
def test_a_text_that_is_no_beta_prior(text, said):
    with pytest.raises(ArgumentError, match=said):
        BetaPrior.parse(text)

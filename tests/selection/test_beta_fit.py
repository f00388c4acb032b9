"""Fits and splits against the authors' published logs, and on curves whose parameters are known."""

import itertools

import numpy as np
import pytest
from scipy.stats import beta

from aid_pipeline import BetaPrior
from aid_pipeline.errors import SelectionError
from aid_pipeline.selection.beta_fit import PRIOR, divide, fit_beta, propose

FIRST_SPLIT = 0.6405638352103529
LOGS = [
    ([0, 0.5, FIRST_SPLIT, 1], [0.0249, 0.4064, 0.2055], (37.62, 23.96)),
    ([0, 1 - FIRST_SPLIT, 0.5, 1], [0.0848, 0.1401, 0.0377], (11.75, 17.39)),
]


@pytest.mark.parametrize(("t", "d", "logged"), LOGS)
def test_the_logged_parameters_are_those_of_the_logged_distances(t, d, logged):
    """Two residuals and two parameters: the optimum is an exact fit, and the log's is that of the distances before they
    were rounded to four digits. Digits that this rounding leaves open are compared within what it leaves open.
    """
    fit = fit_beta(t, d)
    assert beta.cdf(t[1:-1], fit.alpha, fit.beta) == pytest.approx(np.cumsum(d)[:-1] / sum(d), abs=1e-9)
    corners = [fit_beta(t, np.add(d, error)) for error in itertools.product((-5e-5, 5e-5), repeat=3)]
    for name, value in zip(("alpha", "beta"), logged, strict=True):
        possible = [getattr(corner, name) for corner in corners]
        assert min(possible) < value < max(possible)
        assert getattr(fit, name) == pytest.approx(value, abs=0.02)


def test_the_first_split():
    assert divide(PRIOR, 0.5, 1) == pytest.approx(FIRST_SPLIT, abs=1e-15)
    assert divide(PRIOR, 0, 0.5) == pytest.approx(1 - FIRST_SPLIT, abs=1e-15)


@pytest.mark.parametrize("parameters", [(1, 1), (0.5, 2), (6, 1.5), (400, 900)])
def test_a_curve_of_known_parameters_is_found(parameters):
    t = np.unique([0, 1, *np.linspace(0.02, 0.98, 15), *beta.ppf(np.linspace(0.05, 0.95, 9), *parameters)])
    fit = fit_beta(t, np.diff(beta.cdf(t, *parameters)))
    assert (fit.alpha, fit.beta) == pytest.approx(parameters, rel=1e-4)


def test_what_cannot_be_fitted_keeps_the_start():
    assert fit_beta([0, 0.5, 1], [1, 2]) == PRIOR
    start = BetaPrior(2, 5)
    assert fit_beta([0, 0.3, 0.5, 1], [0, 0, 0], start) == start
    with pytest.raises(SelectionError, match="need 2 finite distances"):
        fit_beta([0, 0.5, 1], [1, 2, 3])
    with pytest.raises(SelectionError, match="finite distances >= 0"):
        fit_beta([0, 0.5, 1], [1, float("nan")])


def test_a_jump_is_fitted_by_a_steep_curve():
    fit = fit_beta([0, 0.3, 0.31, 1], [1e-4, 1, 1e-4])
    assert beta.cdf(0.31, fit.alpha, fit.beta) - beta.cdf(0.3, fit.alpha, fit.beta) > 0.5


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.1), (0.9, 1.0), (0.995, 1.0)])
def test_splits_stay_inside_where_the_curve_is_flat(low, high):
    """1 - F is 1e-60 or less at the right: halves are taken of the complement, or else of the gap."""
    assert low < divide(BetaPrior(300, 300), low, high) < high


def test_the_widest_gap_is_split_first_and_halves_are_predicted():
    t, d = [0, 0.5, 1], [1.0, 4.0]
    assert propose(t, d, PRIOR, 1, 0.01) == pytest.approx([FIRST_SPLIT])
    halves = propose(t, d, PRIOR, 3, 0.01)  # both halves, predicted 2 and 2, before the first gap of 1
    assert halves == pytest.approx([beta.ppf(q, 3, 3) for q in (0.625, 0.75, 0.875)])
    assert len(propose(t, d, PRIOR, 5, 0.01)) == 5


def test_equal_gaps_are_split_from_the_left():
    assert propose([0, 0.5, 1], [1, 1], BetaPrior(1, 1), 1, 0.01) == [0.25]


def test_the_floor_holds():
    t, d = [0, 0.3, 0.31, 0.32, 1], [0.1, 5.0, 5.0, 0.1]
    steep = fit_beta(t, d)
    found = sorted([*t, *propose(t, d, steep, 8, 0.02)])
    assert len(found) == 13
    assert min(np.diff([x for x in found if x not in (0.31, 0.32)])) >= 0.02 - 1e-12
    assert propose([0, 0.03, 1], [1, 0], PRIOR, 9, 0.48) == [pytest.approx(0.515, abs=0.006)]
    assert propose([0, 0.5, 1], [1, 1], PRIOR, 9, 0.3) == []

"""Fit of the Beta distribution whose CDF follows how the images change along t (arXiv 2403.17924, appendix D)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import beta

from ..coefficients import BetaPrior
from ..errors import SelectionError

PRIOR = BetaPrior(3.0, 3.0)
"""Where the fit starts, and what splits the first gaps: 1 distance says nothing about 2 parameters."""

SMALLEST, LARGEST = 0.05, 5000.0  # alpha and beta: a step of Beta(5000, 5000) is 0.03 wide


def fit_beta(coefficients: Sequence[float], distances: Sequence[float], start: BetaPrior = PRIOR) -> BetaPrior:
    """alpha, beta = argmin sum_i (F(t_i; alpha, beta) - c_i)^2, c_i = sum_{j < i} d_j / sum_j d_j, in float64.

    Args:
        coefficients: n of them, ascending from 0 to 1.
        distances: d_j >= 0 between frames j and j + 1, n - 1 of them.
        start: returned where nothing can be fitted: fewer than 2 interior frames, or all distances 0.

    Raises:
        SelectionError: lengths that do not fit, distances that are negative or not finite.
    """
    t, d = np.asarray(coefficients, float), np.asarray(distances, float)
    if d.shape != (len(t) - 1,) or not np.isfinite(d).all() or (d < 0).any():
        raise SelectionError(f"{len(t)} coefficients need {len(t) - 1} finite distances >= 0, got {d.tolist()}")
    total = d.sum()
    if len(t) < 4 or total == 0:
        return start
    share = np.cumsum(d)[:-1] / total

    def error(logarithms: np.ndarray) -> np.ndarray:
        residual: np.ndarray = beta.cdf(t[1:-1], *np.exp(logarithms)) - share
        return residual

    bounds = (np.log(SMALLEST), np.log(LARGEST))
    # steep transitions have flat stretches in the error; the last fit and the prior are two ways in
    starts = {(prior.alpha, prior.beta) for prior in (start, PRIOR)}
    fits = [
        least_squares(error, np.clip(np.log(values), *bounds), bounds=bounds, x_scale=1.0, xtol=1e-12, ftol=1e-12)
        for values in sorted(starts)
    ]
    best = min(fits, key=lambda fit: float(fit.cost))
    alpha, second = (float(value) for value in np.exp(best.x))
    return BetaPrior(alpha, second)


def divide(prior: BetaPrior, low: float, high: float, share: float = 0.5) -> float:
    """The t between `low` and `high` before which F changes by `share` of its change between these two.

    Where F does not change between them in float64, that share of the way in t.
    """
    a, b = prior.alpha, prior.beta
    if beta.cdf(low, a, b) > 0.5:  # near 1 the complement keeps the digits
        start, end = beta.sf(low, a, b), beta.sf(high, a, b)
        t = float(beta.isf(start + share * (end - start), a, b))
    else:
        start, end = beta.cdf(low, a, b), beta.cdf(high, a, b)
        t = float(beta.ppf(start + share * (end - start), a, b))
    return t if low < t < high else low + share * (high - low)


def propose(
    coefficients: Sequence[float], distances: Sequence[float], prior: BetaPrior, count: int, min_gap: float
) -> list[float]:
    """Where the next frames should lie: the widest gaps split one after another, each half predicted by the prior.

    Args:
        coefficients: frames there are, ascending.
        distances: between neighbours.
        prior: fitted to them; splits where its CDF is halfway, and predicts how a gap's distance divides.
        count: most splits.
        min_gap: every new t keeps this distance to all others; a gap under twice that is not split.

    Returns:
        At most `count` new coefficients, ascending; fewer if no gap is wide enough.
    """
    gaps = [(-d, low, high) for d, (low, high) in zip(distances, pairwise(coefficients), strict=True)]
    found: list[float] = []
    while len(found) < count:
        wide = [gap for gap in gaps if gap[2] - gap[1] >= 2 * min_gap]
        if not wide:
            break
        widest = min(wide)  # of equal ones, the first along t
        gaps.remove(widest)
        distance, low, high = widest
        t = min(max(divide(prior, low, high), low + min_gap), high - min_gap)
        share = _share(prior, low, t, high)
        gaps += [(distance * share, low, t), (distance * (1 - share), t, high)]
        found.append(t)
    return sorted(found)


def _share(prior: BetaPrior, low: float, t: float, high: float) -> float:
    """Part of the change from `low` to `high` that the prior sees before `t`: a half, unless `min_gap` moved it."""
    start, middle, end = (float(beta.cdf(x, prior.alpha, prior.beta)) for x in (low, t, high))
    return (middle - start) / (end - start) if end - start > 1e-12 else (t - low) / (high - low)

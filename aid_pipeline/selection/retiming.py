"""Retiming of a sequence to even spacing: arc length in a distance, inverted (for selection and for videos)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from ..coefficients import BetaPrior, check_frames, uniform
from ..errors import SelectionError
from ..metrics.distances import Distance, adjacent_distances, measured
from .beta_fit import divide

POWERS = np.linspace(1.0, 3.0, 81)  # tried by `lengths`; below 1 distances saturate, which says nothing of their scale
NEAR = 0.02  # of an even step: a frame this near a wanted place is there already
FAR = 0.25  # likewise: only a frame missing by this much is put beside a wanted place that is too near another frame


def even_coefficients(coefficients: Sequence[float], distances: Sequence[float], frames: int) -> tuple[float, ...]:
    """Where `frames` frames would lie that are equally far apart, by the distances of a sequence that is there.

    With s(t) the cumulative distance from the first frame, t_i = s^-1(s(1) (i - 1) / (frames - 1)); between the frames
    that are known s^-1 is the monotone cubic of Fritsch and Carlson (SciPy's PCHIP), in float64. Where the image
    stands still, s^-1 leaps over that stretch: no frame is put into it.

    Args:
        coefficients: of the n frames that are there, from 0 to 1.
        distances: d_j >= 0 between frames j and j + 1, n - 1 of them. All 0: the result is uniform.
        frames: any number >= 2, more or fewer than n.

    Returns:
        `frames` coefficients, the first 0 and the last 1, never decreasing.

    Raises:
        CoefficientsError: fewer than 2 frames.
        SelectionError: lengths that do not fit, distances that are negative or not finite.
    """
    t, d = np.asarray(coefficients, float), np.asarray(distances, float)
    if t.ndim != 1 or d.shape != (len(t) - 1,) or not np.isfinite(d).all() or (d < 0).any():
        raise SelectionError(f"{t.size} coefficients need {t.size - 1} finite distances >= 0, got {d.tolist()}")
    check_frames(frames)
    way = np.concatenate([[0.0], np.cumsum(d)])
    if way[-1] == 0:
        return uniform(frames)
    way /= way[-1]
    wanted = np.arange(1, frames - 1) / (frames - 1)
    found = np.interp(wanted, way, t)  # stays only where a stretch that stands still, but for rounding, is hit
    for first, last in _moving(np.diff(way) > np.finfo(float).eps):
        here = (way[first] < wanted) & (wanted <= way[last])
        found[here] = PchipInterpolator(way[first : last + 1], t[first : last + 1])(wanted[here])
    return (0.0, *np.clip(found, 0.0, 1.0).tolist(), 1.0)


def _moving(moves: np.ndarray) -> list[tuple[int, int]]:
    """First and last frame of every stretch in which each step moves."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], moves, [False]])))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def even_spacing(images: Tensor, coefficients: Sequence[float], measure: Distance, frames: int) -> tuple[float, ...]:
    """`even_coefficients` of a sequence's images, (n, 3, height, width) in [0, 1], by the `lengths` between them."""
    steps = adjacent_distances(measure, images).tolist()
    spans = measured(measure, images[:-2], images[2:]).tolist() if len(images) > 2 else []
    return even_coefficients(coefficients, lengths(steps, spans), frames)


def lengths(distances: Sequence[float], spans: Sequence[float]) -> list[float]:
    """Distances as lengths that add up along the way, l = d^(1/p).

    Many perceptual distances are squares at heart (1 - cosine, LPIPS): over half of a gap they are a quarter, and where
    gaps differ their sum is no measure of the way. p makes l_j + l_{j+1} = (d of frames j and j + 2)^(1/p) hold best,
    by least squares of the logarithms; p = 1 for distances that add up, 2 for squares. Order and equality stay as they
    are.

    Args:
        distances: d_j between frames j and j + 1, n - 1 of them.
        spans: between frames j and j + 2, n - 2 of them.
    """
    d, whole = np.asarray(distances, float), np.asarray(spans, float)
    known = (d[:-1] > 0) & (d[1:] > 0) & (whole > 0)
    if not known.any():
        return d.tolist()
    first, second, both = (np.log(part[known])[:, None] / POWERS for part in (d[:-1], d[1:], whole))
    error = np.square(np.logaddexp(first, second) - both).sum(axis=0)
    lengthened: list[float] = (d ** (1 / POWERS[int(error.argmin())])).tolist()
    return lengthened


def even_by_prior(
    coefficients: Sequence[float], distances: Sequence[float], frames: int, prior: BetaPrior
) -> tuple[float, ...]:
    """`even_coefficients` where few frames are known: within a gap the change follows F, the CDF of `prior`.

    With s_j the cumulative distance, F(t) = F(t_j) + (F(t_{j+1}) - F(t_j)) (s - s_j) / d_j in the gap that holds s.

    Args: as `even_coefficients`, with `prior` fitted to them.
    """
    way = np.concatenate([[0.0], np.cumsum(distances)])
    if way[-1] == 0:
        return uniform(frames)
    found = []
    for wanted in way[-1] * np.arange(1, frames - 1) / (frames - 1):
        gap = min(int(np.searchsorted(way, wanted, side="right")), len(distances)) - 1
        share = (wanted - way[gap]) / (way[gap + 1] - way[gap])
        found.append(divide(prior, coefficients[gap], coefficients[gap + 1], float(share)))
    return (0.0, *found, 1.0)


def propose_even(
    coefficients: Sequence[float],
    distances: Sequence[float],
    frames: int,
    count: int,
    min_gap: float,
    prior: BetaPrior | None = None,
) -> list[float]:
    """Where the next frames should lie so that `frames` evenly spaced ones are among them.

    The places of evenly spaced frames, by what is measured so far; those that lack a frame by most come first.

    Args: as `propose` in `beta_fit.py`, with `frames` to keep in the end; no prior: a monotone cubic.

    Returns:
        At most `count` new coefficients, ascending; fewer where frames lie already, or too near.
    """
    way = np.concatenate([[0.0], np.cumsum(distances)])
    if way[-1] == 0:
        return []
    step = way[-1] / (frames - 1)
    if prior is None:
        wanted = even_coefficients(coefficients, distances, frames)[1:-1]
    else:
        wanted = even_by_prior(coefficients, distances, frames, prior)[1:-1]
    lacking = [(float(abs(way - step * index).min()) / step, t) for index, t in enumerate(wanted, start=1)]
    found: list[float] = []
    for lack, t in sorted(lacking, key=lambda place: (-place[0], place[1])):
        low, high = next(gap for gap in pairwise(sorted([*coefficients, *found])) if gap[0] <= t <= gap[1])
        if len(found) == count or lack < NEAR or high - low < 2 * min_gap:
            continue
        allowed = min(max(t, low + min_gap), high - min_gap)
        if allowed == t or lack > FAR:
            found.append(allowed)
    return sorted(found)

"""Most uniform choice of m among n frames: an exact search (arXiv 2403.17924, appendix D)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import SelectionError


def reachable_pairs(explored: int, frames: int) -> list[tuple[int, int]]:
    """Pairs i < j that can be neighbours when `frames` of `explored` are kept, both endpoints among them."""
    most = explored - frames  # dropped in all, so at most so many between two neighbours
    return [(i, j) for i in range(explored) for j in range(i + 1, min(explored, i + most + 2))]


def most_uniform_path(distances: Sequence[Sequence[float]] | np.ndarray, frames: int) -> tuple[int, ...]:
    """The m of n frames, from the first to the last in order, whose adjacent distances differ least.

    Minimises max - min of the m - 1 adjacent distances, exactly. Of equal choices: the one with the smallest largest
    distance, then the first in lexicographic order of indices.

    An interval of admitted distances slides over the sorted distances: for each lower end, the least upper end that
    leaves a path of m frames. Both ends only move up, so at most n^2 times it is asked whether there is such a path;
    each answer is one pass over the pairs with a bit for every length.

    Args:
        distances: (n, n); entry [i][j] for i < j is used, where `reachable_pairs` lists it.
        frames: m.

    Returns:
        m indices, the first 0 and the last n - 1.

    Raises:
        SelectionError: m < 2 or n < m, not a square, a distance that is not finite.
    """
    d = np.asarray(distances, float)
    if d.ndim != 2 or d.shape[0] != d.shape[1]:
        raise SelectionError(f"distances must be a square of numbers, got shape {d.shape}")
    n = len(d)
    if frames < 2 or n < frames:
        raise SelectionError(f"cannot choose {frames} frames from {n} explored ones; explore at least {max(frames, 2)}")
    pairs = reachable_pairs(n, frames)
    used = np.array([d[pair] for pair in pairs])
    if not np.isfinite(used).all():
        raise SelectionError("distances between explored frames must be finite")
    values = np.unique(used)
    ranks = np.searchsorted(values, used).tolist()
    edges = [(i, j, rank) for (i, j), rank in zip(pairs, ranks, strict=True)]

    best: tuple[float, float] | None = None
    window = (0, len(values) - 1)
    high = 0
    for low in range(len(values)):
        high = max(high, low)
        while high < len(values) and not _has_path(edges, n, frames, low, high):
            high += 1
        if high == len(values):
            break
        found = (float(values[high] - values[low]), float(values[high]))
        if best is None or found < best:  # of equal ones the widest interval, which has the paths of the others
            best, window = found, (low, high)
    return _first_path(edges, n, frames, *window)


def _has_path(edges: list[tuple[int, int, int]], n: int, frames: int, low: int, high: int) -> bool:
    """Whether distances of ranks `low` to `high` link the first and the last frame by a path of `frames`."""
    reached = [1] + [0] * (n - 1)  # bit k of frame j: j is reached in k steps
    for i, j, rank in edges:  # ascending in i, and all edges into i come from before it
        if low <= rank <= high:
            reached[j] |= reached[i] << 1
    return bool(reached[n - 1] >> (frames - 1) & 1)


def _first_path(edges: list[tuple[int, int, int]], n: int, frames: int, low: int, high: int) -> tuple[int, ...]:
    """The lexicographically first such path."""
    left = [0] * (n - 1) + [1]  # bit k of frame i: the last is reached from i in k steps
    following: list[list[int]] = [[] for _ in range(n)]
    for i, j, rank in reversed(edges):
        if low <= rank <= high:
            left[i] |= left[j] << 1
            following[i].append(j)
    path = [0]
    for steps in range(frames - 2, -1, -1):
        path.append(min(j for j in following[path[-1]] if left[j] >> steps & 1))
    return tuple(path)

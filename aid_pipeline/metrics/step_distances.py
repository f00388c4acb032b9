"""Measures of the distances between adjacent frames: smoothness, consistency, the largest step, the path's length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import IncomparableError, MetricsError
from .distances import Distance, adjacent_distances, distance_name, measured


def gini(distances: Iterable[float]) -> float:
    """sum_ij |d_i - d_j| / (2 n sum d) of n distances (arXiv 2403.17924, section 3): 0 for equal steps.

    Steps that are all zero are equal steps. The math is float64.

    Raises:
        MetricsError: no distance, or one that is negative or not finite.
    """
    d = np.sort(_checked(distances))
    if d.sum() == 0:
        return 0.0
    # the double sum of a sorted row: d_k is the larger of k pairs and the smaller of n - 1 - k
    ranks = 2 * np.arange(len(d)) - len(d) + 1
    return float((ranks * d).sum() / (len(d) * d.sum()))


def smoothness(distances: Iterable[float]) -> float:
    """1 - Gini of the n adjacent distances: 1 for equal steps, 1/n when one step is all of the way.

    The floor 1/n depends on the number of frames, so only sequences of equal length may be compared
    (`check_comparable`).
    """
    return 1 - gini(distances)


def consistency(distances: Iterable[float]) -> float:
    """The mean adjacent distance; lower is better (arXiv 2403.17924, section 3)."""
    return float(_checked(distances).mean())


@dataclass(frozen=True)
class StepMeasures:
    """The adjacent distances of one sequence and what follows from them.

    Attributes:
        distances: d_j between frames j and j + 1, m - 1 of them.
        endpoint_distance: between the first and the last frame.
        distance: name of the distance.
    """

    distances: tuple[float, ...]
    endpoint_distance: float
    distance: str

    @property
    def frames(self) -> int:
        return len(self.distances) + 1

    @property
    def smoothness(self) -> float:
        return smoothness(self.distances)

    @property
    def consistency(self) -> float:
        return consistency(self.distances)

    @property
    def largest_step(self) -> float:
        return max(self.distances)

    @property
    def worst_pair(self) -> tuple[int, int]:
        """Numbers of the two adjacent frames that are furthest apart, counted from 0."""
        index = int(np.argmax(self.distances))
        return index, index + 1

    @property
    def path_ratio(self) -> float | None:
        """Length of the path over the distance of its endpoints; None where the endpoints are equal.

        A distance that obeys the triangle inequality gives 1 for the straight way and more for detours. Squared
        ones (LPIPS, the miniature's, 1 - cosine) do not: small steps then add up to less than 1.
        """
        return math.fsum(self.distances) / self.endpoint_distance if self.endpoint_distance > 0 else None

    def figures(self) -> dict[str, Any]:
        """As JSON holds them."""
        return {
            "frames": self.frames,
            "smoothness": self.smoothness,
            "consistency": self.consistency,
            "largest_step": self.largest_step,
            "worst_pair": list(self.worst_pair),
            "path_ratio": self.path_ratio,
            "endpoint_distance": self.endpoint_distance,
            "distances": list(self.distances),
        }


def step_measures(distance: Distance, images: Tensor) -> StepMeasures:
    """Measure the steps of one sequence.

    Args:
        images: (m, 3, height, width) float32 in [0, 1], m >= 2.

    Raises:
        MetricsError: a single frame.
        DistanceError: a distance that is negative or not finite.
    """
    if len(images) < 2:
        raise MetricsError(f"adjacent distances need at least 2 frames, got {len(images)}")
    endpoints = measured(distance, images[:1], images[-1:])
    steps = adjacent_distances(distance, images)
    return StepMeasures(tuple(steps.tolist()), float(endpoints[0]), distance_name(distance))


def check_comparable(measures: Sequence[StepMeasures]) -> None:
    """Refuse to put smoothness side by side where it does not mean the same.

    Raises:
        IncomparableError: sequences of different lengths (smoothness has the floor 1/(m - 1)) or different distances.
    """
    lengths = sorted({measure.frames for measure in measures})
    if len(lengths) > 1:
        raise IncomparableError(
            f"smoothness of sequences of {', '.join(map(str, lengths))} frames cannot be compared: its least value is "
            "1 over the number of steps; compare sequences of equal length"
        )
    names = sorted({measure.distance for measure in measures})
    if len(names) > 1:
        raise IncomparableError(f"figures of different distances cannot be compared: {'; '.join(names)}")


def _checked(distances: Iterable[float]) -> np.ndarray:
    d = np.asarray(list(distances), dtype=np.float64)
    if d.ndim != 1 or not len(d):
        raise MetricsError(f"give at least one adjacent distance, got {d.tolist()}")
    if not (np.isfinite(d) & (d >= 0)).all():
        raise MetricsError(f"distances must be finite and >= 0, got {d.tolist()}")
    return d

"""Dynamic selection (arXiv 2403.17924, appendix D): explore where the images change, keep the most uniform frames."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..coefficients import frame_coefficients
from ..metrics.distances import Distance, distance_name, measured
from .beta_fit import PRIOR, fit_beta, propose
from .path import most_uniform_path, reachable_pairs
from .retiming import lengths, propose_even
from .settings import Selection

logger = logging.getLogger(__name__)

SHORTEST = (0.0, 0.5, 1.0)  # what the paper starts from
FIRST_SHARE = 0.6
"""Part of the explored frames that the first of two rounds samples."""
JUMP, MOST = 2.0, 0.75
"""A gap that can be split no further is a jump if it holds more than so many even steps, or than this share of all."""

SampleFrames = Callable[[tuple[float, ...]], Tensor]
"""Samples images (k, 3, height, width) in [0, 1] at k coefficients; the first call asks for both endpoints too."""


@dataclass(frozen=True)
class DynamicChoice:
    """What dynamic selection found.

    Attributes:
        coefficients: of the frames kept.
        kept: their indices among the explored ones.
        explored: all coefficients that were sampled, ascending.
        explored_distances: between neighbours among them.
        distances: between neighbours among the frames kept.
        rounds: coefficients in the order they were sampled, call by call.
        fits: (alpha, beta) before each round after the first, and last the fit to all; of distances as they are for
            placing "halves", of `lengths` for "even".
        jumps: gaps (t, next t, distance) narrower than twice `min_gap` that still hold as much as `JUMP` says.
        distance: name of the distance.
        min_gap: in force.
        per_round: as in `Selection`.
    """

    coefficients: tuple[float, ...]
    kept: tuple[int, ...]
    explored: tuple[float, ...]
    explored_distances: tuple[float, ...]
    distances: tuple[float, ...]
    rounds: tuple[tuple[float, ...], ...]
    fits: tuple[tuple[float, float], ...]
    jumps: tuple[tuple[float, float, float], ...]
    distance: str
    min_gap: float
    per_round: int | None

    def record(self) -> dict[str, Any]:
        """As `sequence.json` holds it."""
        return {"method": "dynamic"} | {name: _plain(value) for name, value in vars(self).items()}

    def messages(self) -> list[str]:
        """One line for each jump, and for each gap that holds as much but was not split as far, for people."""
        whole = sum(self.explored_distances)
        much = _much(whole, len(self.coefficients))
        closer = "per_round=8 or a larger explore looks" if self.per_round is None else "a larger explore looks"
        wide = [
            (low, high, apart)
            for (low, high), apart in zip(pairwise(self.explored), self.explored_distances, strict=True)
            if high - low >= 2 * self.min_gap and apart > much
        ]
        return [
            f"between t = {low:.4f} and {high:.4f} lies {100 * apart / whole:.0f} % of the whole change, and no frame "
            f"was tried there; {closer} closer"
            for low, high, apart in wide
        ] + [
            f"between t = {low:.4f} and {high:.4f} the image jumps: {100 * apart / whole:.0f} % of the whole change "
            f"in {high - low:.4f} of the way, too near for a frame between with min_gap={self.min_gap:g}. If it jumps "
            "with a smaller one too, no coefficients make this transition even; a guide between the two prompts, "
            "another seed or the other mode may"
            for low, high, apart in self.jumps
        ]


def select_dynamically(
    sample: SampleFrames, measure: Distance, frames: int, settings: Selection, most_per_call: int | None = None
) -> DynamicChoice:
    """Explore, fit and choose.

    Every round places several frames at once, by measured distances where there are any and by predicted ones where
    not. `Selection.placing` says where: into the widest gaps, split where the fitted Beta CDF is halfway, or, once
    there are more gaps than two, to where even spacing lacks a frame.

    Args:
        sample: returns the frames; never asked for the same coefficient twice.
        measure: the distance to even out.
        frames: m, to keep.
        settings: how many to explore, how near, how many at a time.
        most_per_call: new frames that fit one denoiser call; None: any number.

    Raises:
        SelectionError: settings that do not suit `frames`.
        DistanceError: values that are no distances.
    """
    settings.check(frames)
    wanted, min_gap = settings.explored(frames), settings.gap(frames)
    first = first_round(wanted, settings.per_round, most_per_call)
    t = list(first)
    images = list(sample(first))
    rounds: list[tuple[float, ...]] = [first]
    known = _Distances(measure)
    prior, fits = PRIOR, []
    while True:
        gaps = known.between(t, images, list(pairwise(range(len(t)))))
        steps = gaps
        if settings.placing == "even":
            spans = known.between(t, images, [(i, i + 2) for i in range(len(t) - 2)])
            steps = lengths(gaps, spans)
        prior = fit_beta(t, steps, prior)
        fits.append((prior.alpha, prior.beta))
        count = round_size(len(t), wanted, settings.per_round, most_per_call)
        even = settings.placing == "even" and len(t) > len(SHORTEST)  # two gaps do not say what lies in them
        shape = prior if len(rounds) == 1 else None
        places = propose_even(t, steps, frames, count, min_gap, shape) if even else []
        filled, predicted = _with_places(t, steps, places)
        new = tuple(sorted([*places, *propose(filled, predicted, prior, count - len(places), min_gap)]))
        if not new:
            break
        rounds.append(new)
        together = sorted(zip([*t, *new], [*images, *sample(new)], strict=True), key=lambda frame: frame[0])
        t, images = [frame[0] for frame in together], [frame[1] for frame in together]
    kept = _most_uniform(known, t, images, frames)
    much = _much(sum(gaps), frames)
    jumps = [
        (low, high, apart)
        for (low, high), apart in zip(pairwise(t), gaps, strict=True)
        if high - low < 2 * min_gap and apart > much
    ]
    choice = DynamicChoice(
        coefficients=tuple(t[index] for index in kept),
        kept=kept,
        explored=tuple(t),
        explored_distances=tuple(gaps),
        distances=tuple(known.between(t, images, list(pairwise(kept)))),
        rounds=tuple(rounds),
        fits=tuple(fits),
        jumps=tuple(jumps),
        distance=distance_name(measure),
        min_gap=min_gap,
        per_round=settings.per_round,
    )
    for message in choice.messages():
        logger.warning("%s", message)
    return choice


def _much(whole: float, frames: int) -> float:
    """What one gap may hold of the whole change."""
    return whole * min(JUMP / (frames - 1), MOST)


def first_round(wanted: int, per_round: int | None, most_per_call: int | None) -> tuple[float, ...]:
    """Where exploring starts: more than half of the `wanted` frames, spaced by `PRIOR`; with `per_round` only three."""
    if per_round is not None:
        return SHORTEST
    between = max(1, math.ceil(FIRST_SHARE * wanted) - 2)
    return frame_coefficients(PRIOR, 2 + (between if most_per_call is None else min(between, most_per_call)))


def round_size(sampled: int, wanted: int, per_round: int | None, most_per_call: int | None) -> int:
    """How many frames the next round samples: all that lack, if they fit one denoiser call.

    A round is a run of the denoiser, which for few frames is hardly cheaper than for more. With `per_round` at most
    half as many as there are: then most of what places them is measured, not predicted.
    """
    limits = [limit for limit in (per_round, most_per_call) if limit is not None]
    return max(0, min([wanted - sampled, *limits] if per_round is None else [wanted - sampled, sampled // 2, *limits]))


def planned_rounds(wanted: int, per_round: int | None, most_per_call: int | None) -> int:
    """How many calls exploring `wanted` frames takes; fewer where gaps close early."""
    sampled, rounds = len(first_round(wanted, per_round, most_per_call)), 1
    while size := round_size(sampled, wanted, per_round, most_per_call):
        sampled, rounds = sampled + size, rounds + 1
    return rounds


class _Distances:
    """Measured distances by pair of coefficients: each pair is measured once."""

    def __init__(self, measure: Distance) -> None:
        self._measure = measure
        self._known: dict[tuple[float, float], float] = {}

    def between(self, t: list[float], images: list[Tensor], pairs: list[tuple[int, int]]) -> list[float]:
        new = [(i, j) for i, j in pairs if (t[i], t[j]) not in self._known]
        if new:
            first, second = (torch.stack([images[pair[end]] for pair in new]) for end in (0, 1))
            for (i, j), found in zip(new, measured(self._measure, first, second).tolist(), strict=True):
                self._known[t[i], t[j]] = found
        return [self._known[t[i], t[j]] for i, j in pairs]


def _with_places(t: list[float], steps: list[float], places: list[float]) -> tuple[list[float], list[float]]:
    """Coefficients with further ones among them, and the distances as they are, or as a straight line divides them."""
    filled = sorted([*t, *places])
    way = np.interp(filled, t, np.concatenate([[0.0], np.cumsum(steps)]))
    return filled, np.diff(way).tolist() if places else steps


def _most_uniform(known: _Distances, t: list[float], images: list[Tensor], frames: int) -> tuple[int, ...]:
    pairs = reachable_pairs(len(t), frames)
    matrix = np.zeros((len(t), len(t)))
    for (i, j), found in zip(pairs, known.between(t, images, pairs), strict=True):
        matrix[i, j] = found
    return most_uniform_path(matrix, frames)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value

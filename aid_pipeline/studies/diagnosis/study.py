"""Study of replaced attention in figures: distances to both originals; adjacent distances of TEI and of AID."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...coefficients import BetaPrior
from ...errors import ArgumentError
from ...metrics.distances import Distance, distance_name, measured
from ...metrics.images import as_images
from ...metrics.step_distances import StepMeasures, step_measures
from ...spec import InterpolationSpec
from .. import plots
from ..comparison.methods import all_methods, pick, sample_methods
from .replacement import ROWS, replaced_images

PROFILED = ("tei", "aid-o-uniform", "aid-i-uniform")
DISTANCES = {
    "a to b": ("a", "b"),
    "a to self replaced": ("a", "a, self from b"),
    "b to self replaced": ("b", "a, self from b"),
    "a to cross replaced": ("a", "a, cross from b"),
    "b to cross replaced": ("b", "a, cross from b"),
}
_SIDE, _LABEL = 128, 20


@dataclass
class Study:
    """What was found for one pair of prompts over several noises.

    Attributes:
        distance: name of the distance.
        distances: by the names of `DISTANCES`, one per noise.
        steps: by title of the method, one per noise.
        coefficients: of the frames whose steps these are.
        images: (4, 3, height, width) of each noise, in the order of `ROWS`.
    """

    distance: str
    distances: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in DISTANCES})
    steps: dict[str, list[StepMeasures]] = field(default_factory=dict)
    coefficients: tuple[float, ...] = ()
    images: list[Tensor] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """As `diagnosis.json` holds them."""
        return {
            "distance": self.distance,
            "replacement": self.distances,
            "profile": {
                "coefficients": list(self.coefficients),
                "distances": {title: [list(m.distances) for m in found] for title, found in self.steps.items()},
            },
        }

    def plots(self) -> dict[str, bytes]:
        """`replacement.png`, `profile.png` and `images.png`."""
        profile = {}
        for title, found in self.steps.items():
            columns = zip(*(measures.distances for measures in found), strict=True)
            profile[title] = (self.coefficients, [sum(column) / len(column) for column in columns])
        count = len(self.images)
        return {
            "replacement.png": plots.boxes(
                self.distances,
                self.distance,
                "keys and values of a replaced by b's",
                f"Replaced attention, {count} noise(s)",
            ),
            "profile.png": plots.profiles(profile, self.distance, f"Mean of {count} sequence(s)"),
            "images.png": _sheet(self.images),
        }


def noise_seeds(spec: InterpolationSpec, noise: int) -> tuple[int, int]:
    """Seeds of a noise: of a (and the sequences), and of b.

    Raises:
        ArgumentError: the specification has a seed for each endpoint.
        LatentsError: a seed that is too large.
    """
    if not isinstance(spec.seed, int):
        raise ArgumentError(f"seed must be one number, that of the first noise, got {spec.seed!r}")
    first = spec.seed + 2 * noise
    return replace(spec, seed=(first, first + 1)).seeds()


def study(
    pipe: Any,
    spec: InterpolationSpec,
    distance: Distance,
    noises: int,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Sample and measure the images of the study.

    Args:
        spec: what all images have in common; its seed is that of the first noise.
        noises: repetitions; noise k has the seeds seed + 2k for a (and the sequences) and seed + 2k + 1 for b.
        progress: called with (noises done, in all).

    Raises:
        AIDError: as `replaced_images` and `sample_methods`.
    """
    found = Study(distance_name(distance))
    methods = pick(PROFILED, all_methods(BetaPrior(1, 1), spec.config.warmup, spec.config.impl))
    for noise in range(noises):
        if progress is not None:
            progress(noise, noises)
        seeds = noise_seeds(spec, noise)
        images = replaced_images(pipe, replace(spec, seed=seeds))
        for name, (first, second) in DISTANCES.items():
            pair = (images[[ROWS.index(one)]] for one in (first, second))
            found.distances[name].append(float(measured(distance, *pair)[0]))
        found.images.append(images)
        for name, frames in sample_methods(pipe, replace(spec, seed=seeds[0]), methods):
            found.steps.setdefault(methods[name].title, []).append(step_measures(distance, frames.images))
            found.coefficients = frames.coefficients
    if progress is not None:
        progress(noises, noises)
    return found


def _sheet(images: list[Tensor]) -> bytes:
    """A row per noise, a column per image."""
    rows = [as_images(torch.as_tensor(row)) for row in images]
    sheet = Image.new("RGB", (len(ROWS) * (_SIDE + 4) + 4, _LABEL + len(rows) * (_SIDE + 4) + 4), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for column, name in enumerate(ROWS):
        draw.text((4 + column * (_SIDE + 4), 4), name, fill="black", font=font)
        for row, row_images in enumerate(rows):
            image = row_images[column].resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            sheet.paste(image, (4 + column * (_SIDE + 4), _LABEL + 4 + row * (_SIDE + 4)))
    return plots.png_bytes(sheet)

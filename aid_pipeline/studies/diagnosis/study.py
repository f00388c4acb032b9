"""Study of replaced attention in figures: distances to both originals; adjacent distances of TEI and of AID."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...coefficients import BetaPrior
from ...metrics.distances import Distance, distance_name, measured
from ...metrics.images import as_images
from ...metrics.step_distances import StepMeasures, step_measures
from ...spec import DEFAULT_GUIDANCE, DEFAULT_STEPS
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
        """`replacement.png`, `profile.png` and `pictures.png`."""
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
            "pictures.png": _sheet(self.images),
        }


def study(
    pipe: Any,
    prompt_a: str,
    prompt_b: str,
    distance: Distance,
    noises: int = 4,
    frames: int = 7,
    seed: int = 0,
    warmup: float = 0.5,
    num_inference_steps: int = DEFAULT_STEPS,
    guidance_scale: float = DEFAULT_GUIDANCE,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Make and measure the images of the study.

    Args:
        noises: repetitions; noise k has the seeds seed + 2k for a (and the sequences) and seed + 2k + 1 for b.
        progress: called with (noises done, in all).

    Raises:
        AIDError: as `replaced_images` and `interpolate`.
    """
    found = Study(distance_name(distance))
    methods = pick(PROFILED, all_methods(BetaPrior(1, 1), warmup))
    call: dict[str, Any] = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
    for noise in range(noises):
        if progress is not None:
            progress(noise, noises)
        seeds = seed + 2 * noise, seed + 2 * noise + 1
        images = replaced_images(pipe, prompt_a, prompt_b, seeds, **call)
        for name, (first, second) in DISTANCES.items():
            pair = (images[[ROWS.index(one)]] for one in (first, second))
            found.distances[name].append(float(measured(distance, *pair)[0]))
        found.images.append(images)
        for name, made in sample_methods(pipe, prompt_a, prompt_b, methods, frames, seeds[0], **call):
            found.steps.setdefault(methods[name].title, []).append(step_measures(distance, made.images))
            found.coefficients = made.coefficients
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

"""Measures of one sequence and of a set of them, with the cross-fade of the same endpoints beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from ...errors import MetricsError
from ...metrics.features import features_name
from ...metrics.fidelity import Fidelity, fidelity
from ...metrics.frame_folder import FrameSet
from ...metrics.images import as_images, cross_fade
from ...metrics.intervals import bootstrap_mean
from ...metrics.presets import Instruments
from ...metrics.step_distances import StepMeasures, check_comparable

SMALL = 112  # pixels of the longer side that is kept of a frame


@dataclass(frozen=True, eq=False)
class Measured:
    """One sequence, measured. Of its frames only small ones are kept, so that many sequences fit in memory.

    Attributes:
        name, coefficients, prompts, guide: as `FrameSet`.
        small: the frames, none larger than `SMALL`, to draw.
        steps, faded: of the sequence, and of a pixel cross-fade between its endpoints.
        endpoints: (2, d) features.
        interior, faded_interior: (m - 2, d) features of the interior frames.
        clip: CLIP score of each frame with each prompt (a, b and the guide if there is one), where the features are a
            CLIP's and the prompts are known.
        clip_missing: why there are none although the prompts are known.
    """

    name: str
    coefficients: tuple[float, ...]
    prompts: tuple[str, ...]
    guide: str | None
    small: tuple[Image.Image, ...]
    steps: StepMeasures
    faded: StepMeasures
    endpoints: Tensor
    interior: Tensor
    faded_interior: Tensor
    clip: dict[str, list[float]]
    clip_missing: str | None = None

    def figures(self) -> dict[str, Any]:
        """As `evaluation.json` holds them."""
        found = {
            "name": self.name,
            "coefficients": list(self.coefficients),
            **self.steps.figures(),
            "cross_fade": {name: getattr(self.faded, name) for name in ("smoothness", "consistency", "largest_step")},
        }
        if self.clip_missing:
            found["clip_scores_missing"] = self.clip_missing
        if self.clip:
            found |= {"prompts": list(self.prompts), "guide": self.guide, "clip_scores": self.clip}
        return found


def measure(frames: FrameSet, instruments: Instruments) -> Measured:
    """Measure one sequence.

    Raises:
        MetricsError: fewer than 3 frames, between which nothing lies.
    """
    images = frames.images
    if len(images) < 3:
        raise MetricsError(f"{frames.name} has {len(images)} frames; nothing lies between, so fidelity says nothing")
    features = instruments.embed(images)
    faded = cross_fade(images)
    texts = {"a": frames.prompts[0], "b": frames.prompts[1]} if len(frames.prompts) == 2 else {}
    if texts and frames.guide is not None:
        texts["guide"] = frames.guide
    missing = None
    try:
        scores = instruments.clip_scores(features, tuple(texts.values()))
    except MetricsError as error:  # a prompt that this text tower does not read; all else can still be measured
        scores, missing = None, str(error)
    return Measured(
        name=frames.name,
        coefficients=frames.coefficients,
        prompts=frames.prompts,
        guide=frames.guide,
        small=_small(images),
        steps=instruments.steps(images),
        faded=instruments.steps(faded),
        endpoints=features[[0, -1]],
        interior=features[1:-1],
        faded_interior=instruments.embed(faded[1:-1]),
        clip={} if scores is None else {name: scores[:, index].tolist() for index, name in enumerate(texts)},
        clip_missing=missing,
    )


def _small(images: Tensor) -> tuple[Image.Image, ...]:
    small = as_images(images)
    for image in small:
        image.thumbnail((SMALL, SMALL), Image.Resampling.LANCZOS)
    return tuple(small)


def summarise(measured: Sequence[Measured], instruments: Instruments, resamples: int = 200) -> dict[str, Any]:
    """The set as a whole: `evaluation.json`.

    Args:
        resamples: for the intervals of FID and KID.

    Raises:
        IncomparableError: sequences of different lengths.
        MetricsError: too few images for FID.
    """
    check_comparable([sequence.steps for sequence in measured])
    endpoints = [sequence.endpoints for sequence in measured]
    name = features_name(instruments.features)
    rows = {
        "sequences": _row(
            [s.steps for s in measured], fidelity(endpoints, [s.interior for s in measured], name, resamples)
        ),
        "cross-fade": _row(
            [s.faded for s in measured], fidelity(endpoints, [s.faded_interior for s in measured], name, resamples)
        ),
    }
    scored = [s for s in measured if s.clip]
    summary: dict[str, Any] = {"count": len(measured), "frames": measured[0].steps.frames, "rows": rows}
    if scored:
        summary["clip_scores"] = {
            prompt: bootstrap_mean(
                [sum(s.clip[prompt][1:-1]) / len(s.clip[prompt][1:-1]) for s in scored if prompt in s.clip]
            ).figures()
            for prompt in ("a", "b", "guide")
            if any(prompt in s.clip for s in scored)
        }
    return {
        "instruments": instruments.describe(),
        "summary": summary,
        "sequences": [sequence.figures() for sequence in measured],
    }


def means(steps: Sequence[StepMeasures], faithful: Fidelity) -> dict[str, Any]:
    """Means over sequences with their intervals, and never without fidelity."""
    ratios = [measures.path_ratio for measures in steps if measures.path_ratio is not None]
    return {
        "smoothness": bootstrap_mean([measures.smoothness for measures in steps]).figures(),
        "consistency": bootstrap_mean([measures.consistency for measures in steps]).figures(),
        "largest_step": bootstrap_mean([measures.largest_step for measures in steps]).figures(),
        "path_ratio": bootstrap_mean(ratios).figures() if ratios else None,
        "fid": faithful.fid.figures(),
        "kid": faithful.kid.figures(),
        "fid_all": faithful.fid_all,
    }


def _row(steps: Sequence[StepMeasures], faithful: Fidelity) -> dict[str, Any]:
    return means(steps, faithful) | {
        "images": list(faithful.counts),
        "few_images": faithful.few,
    }

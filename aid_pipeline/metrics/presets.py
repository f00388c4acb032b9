"""Presets of a report: a distance for steps, features for fidelity, and how frames are prepared for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import MetricsError
from .clip import Clip
from .distances import Distance, distance, distance_name
from .features import Features, embed, features, features_name
from .images import imagenet_normalised, through_jpeg
from .step_distances import StepMeasures, step_measures

PRESETS = ("miniature", "standard", "paper-compat")


@dataclass(frozen=True, eq=False)
class Instruments:
    """A distance and features.

    Attributes:
        preset: "miniature", "standard", "paper-compat", or "own" for others.
        jpeg: frames go through JPEG first.
        imagenet: the distance gets ImageNet-normalised frames.
    """

    distance: Distance
    features: Features
    preset: str
    jpeg: bool = False
    imagenet: bool = False

    def steps(self, images: Tensor) -> StepMeasures:
        """Adjacent distances of one sequence (m, 3, height, width) in [0, 1]."""
        images = through_jpeg(images) if self.jpeg else images
        return step_measures(self.distance, imagenet_normalised(images) if self.imagenet else images)

    def embed(self, images: Tensor) -> Tensor:
        """Features (n, d) of images (n, 3, height, width) in [0, 1]."""
        return embed(self.features, through_jpeg(images) if self.jpeg else images)

    def clip_scores(self, image_features: Tensor, prompts: tuple[str, ...]) -> Tensor | None:
        """100 cos (images, prompts) float64 of this object's own features; None where they are no CLIP's."""
        if not isinstance(self.features, Clip) or not prompts:
            return None
        return self.features.score(image_features, prompts)

    def describe(self) -> dict[str, Any]:
        """For reports: what every figure was measured with."""
        return {
            "preset": self.preset,
            "distance": distance_name(self.distance),
            "features": features_name(self.features),
            "frames": "through JPEG (quality 75)" if self.jpeg else "as they are",
            "distance_reads": "ImageNet-normalised" if self.imagenet else "pixels in [0, 1]",
        }

    def line(self) -> str:
        """One sentence for a heading."""
        said = self.describe()
        return (
            f"Preset {said['preset']}: steps by {said['distance']} on {said['distance_reads']}; fidelity by "
            f"{said['features']}; frames {said['frames']}"
        )


def preset(
    name: str = "miniature", distance_by: str | Distance | None = None, features_by: str | Features | None = None
) -> Instruments:
    """Instruments by name.

    Args:
        name: "miniature", offline: the miniature's own tower for steps and fidelity; "standard": LPIPS-VGG16 and
            Inception on the frames as they are; "paper-compat": the same on JPEG frames, ImageNet-normalised for LPIPS,
            as the paper's evaluation had them.
        distance_by, features_by: others, as `distance` and `features` take them. "standard" and "paper-compat" need
            "lpips:FILE" and "inception:FILE", for no weights are downloaded.

    Raises:
        MetricsError: an unknown name, or "standard" or "paper-compat" with anything but LPIPS and Inception.
        DistanceError: weights of the distance that are not there.
    """
    if name not in PRESETS:
        raise MetricsError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
    if name == "miniature":
        own = distance_by is not None or features_by is not None
        return Instruments(
            distance(distance_by or "miniature"), features(features_by or "miniature"), "own" if own else name
        )
    for option, given, kind in (("distance", distance_by, "lpips"), ("features", features_by, "inception")):
        if not isinstance(given, str) or not given.startswith(f"{kind}:"):
            raise MetricsError(
                f"preset {name!r} means LPIPS-VGG16 and Inception v3, whose weights are not shipped: give "
                f'{option} "{kind}:FILE", not {given!r} (docs/metrics.md says how to make the file)'
            )
    assert distance_by is not None
    assert features_by is not None
    paper = name == "paper-compat"
    return Instruments(distance(distance_by), features(features_by), name, jpeg=paper, imagenet=paper)

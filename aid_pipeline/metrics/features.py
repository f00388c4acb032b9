"""Features of whole images, by name, from local weights: what FID and KID compare."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import MetricsError
from ..extras import naming_extra
from .clip import IMAGES_AT_ONCE, Clip
from .distances import distance_name

Features = Callable[[Tensor], Tensor]
"""(n, 3, height, width) float32 in [0, 1] -> (n, d) float32, with a `name` for reports."""

KINDS = ("miniature", "clip", "inception")


def features(which: str | Features = "miniature") -> Features:
    """Features by name, or a callable of one's own.

    Args:
        which: one of

            - "miniature": the image embedding of the miniature's CLIP; "miniature:FOLDER" of another such folder.
            - "clip:FOLDER": the image embedding of a CLIP model's transformers folder.
            - "inception:FILE": the 2048 features of FID's Inception v3 (torch-fidelity's conversion of the original
              weights) from a safetensors file. Upstream ships a .pth file, which this package does not unpickle;
              convert it once: `safetensors.torch.save_file(torch.load(PTH, weights_only=True), FILE)`.
            - any callable with the signature of `Features`.

    Raises:
        MetricsError: an unknown name, or weights that are not there or not of that kind.
    """
    if not isinstance(which, str):
        if not callable(which):
            raise MetricsError(f"features must be a name or a callable of a batch of images, got {which!r}")
        return which
    kind, _, place = which.partition(":")
    if kind not in KINDS:
        raise MetricsError(f"features must be one of {', '.join(KINDS)} or a callable, got {which!r}")
    if kind == "miniature":
        return Clip(place or None)
    if not place:
        raise MetricsError(f'features {kind!r} need their weights: "{kind}:{"FOLDER" if kind == "clip" else "FILE"}"')
    return Clip(place) if kind == "clip" else Inception(place)


def features_name(made_by: Features) -> str:
    """What reports call them."""
    return distance_name(made_by)  # type: ignore[arg-type]


def embed(made_by: Features, images: Tensor) -> Tensor:
    """`made_by(images)`, checked: (n, d) float32 on the CPU.

    Raises:
        MetricsError: a result of another shape, or one that is not finite.
    """
    with torch.no_grad():
        found = made_by(images)
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise MetricsError(f"features {features_name(made_by)} must be ({len(images)}, d), got {shape}")
    if not torch.isfinite(found).all():
        raise MetricsError(f"features {features_name(made_by)} hold NaN or infinity")
    return found.detach().to("cpu", torch.float32)


class Inception:
    """FID's Inception v3 of package `torch-fidelity`, with its own resizing, on images rounded to 8 bits.

    Args:
        path: safetensors file with all of its weights.

    Raises:
        MetricsError: torch-fidelity is not installed, no such file, or other weights.
    """

    def __init__(self, path: str | Path) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = Path(path).expanduser()
        if file.suffix != ".safetensors" or not file.is_file():
            raise MetricsError(
                f"features inception need a safetensors file, got {file}; convert the .pth of torch-fidelity once with "
                "safetensors.torch.save_file(torch.load(PTH, weights_only=True), FILE)"
            )
        with naming_extra("features='inception'", MetricsError):
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        try:
            # the class reads its weights through torch.load: from memory it gets what safetensors read, not a file
            buffer = io.BytesIO()
            torch.save(load_file(file), buffer)
            buffer.seek(0)
            self._model: Any = FeatureExtractorInceptionV3(
                "inception-v3", ["2048"], feature_extractor_weights_path=buffer
            )
        except (RuntimeError, SafetensorError) as error:
            raise MetricsError(f"{file} does not hold FID's Inception v3: {error}") from error
        self.name = f"Inception v3 (weights sha256 {hashlib.sha256(file.read_bytes()).hexdigest()[:12]})"

    def __repr__(self) -> str:
        return f"Inception({self.name!r})"

    def __call__(self, images: Tensor) -> Tensor:
        """(n, 2048) float32 of (n, 3, height, width) in [0, 1]."""
        self._model.to(images.device)
        parts = (images.clamp(0, 1) * 255).round().to(torch.uint8).split(IMAGES_AT_ONCE)
        return torch.cat([self._model(part)[0] for part in parts])

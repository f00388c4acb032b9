"""Keyframes of a sequence: what its given frames show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Inversion:
    """An image as latents at every step of a sequence, so that the sequence can end in it; `invert` makes it.

    Attributes:
        image: RGB, cropped and resized to the size of the frames.
        latents: (N + 1, ...) float32, before each of N steps and after the last, as the denoiser gets them.
        prompt: text it was inverted with.
        path: "inverted" or "noised".
        psnr: of the autoencoder's reconstruction, which a pinned end shows, in decibels.
        scheduler: whose steps these are.
        weights: digests of the pipeline's models.
    """

    image: Image.Image
    latents: Tensor
    prompt: str
    path: str
    psnr: float
    scheduler: Any
    weights: Mapping[str, str]

    def __repr__(self) -> str:
        size = f"{self.image.width}x{self.image.height}"
        return f"Inversion({self.prompt!r}, {size}, {len(self.latents) - 1} steps, {self.psnr:.1f} dB)"


@dataclass(frozen=True)
class Keyframe:
    """One given frame of a sequence; the first and the last frame of a sequence are keyframes.

    Args:
        prompt: text of the frame.
    """

    prompt: str

"""Keyframes of a sequence: what its given frames show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ArgumentError, PromptError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

PATHS = ("inverted", "noised")
ENDS = ("vae", "file")


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

    @property
    def steps(self) -> int:
        """N, of the sequence it belongs to."""
        return len(self.latents) - 1

    def __repr__(self) -> str:
        size = f"{self.image.width}x{self.image.height}"
        return f"Inversion({self.prompt!r}, {size}, {self.steps} steps, {self.psnr:.1f} dB)"


@dataclass(frozen=True)
class Keyframe:
    """One given frame of a sequence; the first and the last frame of a sequence are keyframes.

    Args:
        prompt: text of the frame; may be empty beside a real image.
        real: an image that the frame reconstructs: a file, a PIL image, or what `invert` made of one.

    Raises:
        PromptError: a value of another kind.
    """

    prompt: str = ""
    real: Inversion | Image.Image | str | Path | None = None

    def __post_init__(self) -> None:
        known = self.real is None or isinstance(self.real, Inversion | str | Path) or hasattr(self.real, "convert")
        if not known:
            raise PromptError(f"real must be an image file, a PIL image or invert(...) of one, got {self.real!r:.100}")


@dataclass(frozen=True)
class RealEnds:
    """How real images are at the ends of a sequence.

    Args:
        keep_ends: what an end shows: "vae", what the autoencoder makes of the image, as of all frames; or "file", the
            image itself.
        path: how images are inverted that are not yet; see `invert`.
        strength: share of the steps that interior frames are denoised for; under 1 they start between the images.

    Raises:
        ArgumentError: another value.
    """

    keep_ends: str = "vae"
    path: str = "inverted"
    strength: float = 1.0

    def __post_init__(self) -> None:
        for name, known in (("keep_ends", ENDS), ("path", PATHS)):
            if getattr(self, name) not in known:
                raise ArgumentError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        number = isinstance(self.strength, int | float) and not isinstance(self.strength, bool)
        if not number or not 0 < self.strength <= 1:
            raise ArgumentError(f"strength must be a number over 0, at most 1, got {self.strength!r}")


def as_keyframe(name: str, value: Any) -> Keyframe:
    """A text or a keyframe as a keyframe.

    Raises:
        PromptError: an image, whose part in the frame nobody said.
    """
    if isinstance(value, Keyframe):
        return value
    if hasattr(value, "convert"):
        raise PromptError(f"{name} is an image; give Keyframe(real=image) for a frame that reconstructs it")
    return Keyframe(value)


def as_keyframes(given: Any) -> tuple[Keyframe, ...]:
    """Keyframes as a tuple.

    Raises:
        PromptError: a value that is no `Keyframe`.
    """
    several = isinstance(given, Iterable) and not isinstance(given, str) and getattr(given, "ndim", 1) > 0
    keyframes: tuple[Any, ...] = tuple(given) if several else (given,)
    for keyframe in keyframes:
        if not isinstance(keyframe, Keyframe):
            raise PromptError(f'a keyframe must be a Keyframe, got {keyframe!r}; for example Keyframe("a red sphere")')
    return keyframes

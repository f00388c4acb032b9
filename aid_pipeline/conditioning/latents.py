"""Noise that each frame starts from: the endpoints' slerped whole (arXiv 2403.17924, section 3)."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError, LatentsError
from ..families import pack_latents, unpacked_shape

PARALLEL = 1 - 1e-6  # cosine above which sin(angle) is too small to divide by; lerp is then the same
NOISE_ARGUMENTS = ["batch_size", "num_channels_latents", "height", "width", "dtype", "device", "generator", "latents"]

CLIP_ARGUMENTS = {"num_frames", "noise_scale"}  # of a clip's noise besides


def slerp(first: Tensor, last: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Spherical interpolation of two whole tensors, one angle for all their elements.

    Args:
        first, last: same shape (...).
        coefficients: m numbers in [0, 1].

    Returns:
        (m, ...) in the dtype of `first`; the math is float64; t = 0 and t = 1 give `first` and `last` bit for bit.

    Raises:
        LatentsError: opposite tensors, between which every direction is equally short.
    """
    a, b = first.double(), last.double()
    cosine = float((a * b).sum() / (a.norm() * b.norm()).clamp_min(torch.finfo(torch.float64).tiny))
    if cosine < -PARALLEL:
        raise LatentsError(
            "the two endpoints' latents are opposite; between them slerp is not defined, use another seed"
        )
    angle = torch.tensor(cosine, dtype=torch.float64).clamp(-1, 1).acos()

    def between(t: float) -> Tensor:
        if t in (0, 1) or cosine > PARALLEL:
            return torch.lerp(a, b, t)
        return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()

    return torch.stack([between(t).to(first.dtype) for t in coefficients])


def check_seed(seed: Any) -> tuple[int, int]:
    """The two endpoints' seeds: the same one twice for a single number.

    Raises:
        LatentsError: not a whole number from 0 to 2**63 - 1, nor a pair of them.
    """
    pair = tuple(seed) if isinstance(seed, tuple | list) else (seed, seed)
    whole = all(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 for value in pair)
    if len(pair) != 2 or not whole:
        raise LatentsError(f"seed must be a whole number from 0 to 2**63 - 1 or a pair of them, got {seed!r}")
    return pair


@dataclass(frozen=True)
class FrameNoise:
    """Stand-in for `prepare_latents` of one pipeline call, which gives every frame its noise.

    The pipeline's own method still draws (so that frame 0 is what the stock call generates from the same seed), scales
    by the scheduler's sigma and packs; this decides only what lies between the endpoints.

    Args:
        coefficients: m of them.
        seeds: of the first and the last frame.
        given: unscaled noise (2, C, h, w) of the endpoints or (m, C, h, w) of all frames, packed or not, of clips with
            their images in between; None means that it is drawn from the seeds.
    """

    coefficients: tuple[float, ...]
    seeds: tuple[int, int]
    given: Tensor | None = None

    def generators(self) -> list[torch.Generator]:
        """One per frame, all of the first seed: schedulers that add noise then add the same to every frame."""
        return [torch.Generator("cpu").manual_seed(self.seeds[0]) for _ in self.coefficients]

    def install(self, pipe: Any) -> None:
        """Replace the method on `pipe`, which must be a private copy.

        Raises:
            LatentsError: latents or two seeds for a pipeline whose latents come from an image.
        """
        given = self.given is not None or self.seeds[0] != self.seeds[1]
        if self.starts_from_noise(pipe):
            if given or CLIP_ARGUMENTS.isdisjoint(inspect.signature(pipe.prepare_latents).parameters):
                pipe.prepare_latents = self._wrap(pipe)
        elif given:
            what = "latents" if self.given is not None else "two seeds"
            raise LatentsError(
                f"{type(pipe).__name__} starts from an image and adds one noise to all frames; it takes no {what}"
            )

    @staticmethod
    def starts_from_noise(pipe: Any) -> bool:
        """Whether it is text to image; other pipelines' latents come from an image."""
        method = getattr(pipe, "prepare_latents", None)
        return method is not None and {*inspect.signature(method).parameters} - CLIP_ARGUMENTS == {*NOISE_ARGUMENTS}

    def _wrap(self, pipe: Any) -> Callable[..., Any]:
        stock = pipe.prepare_latents
        unscaled_pipe = copy.copy(pipe)
        # past __setattr__, which would look up the stand-in's library for the pipeline's config
        vars(unscaled_pipe)["scheduler"] = SimpleNamespace(init_noise_sigma=1.0, config=SimpleNamespace(sigma_max=1.0))
        unscaled = type(pipe).prepare_latents.__get__(unscaled_pipe)

        def prepare_latents(*args: Any, **kwargs: Any) -> Any:
            call = inspect.signature(stock).bind(*args, **kwargs)
            values = dict(call.arguments)

            def draw(generators: Any, rows: int) -> Tensor:
                drawn = unscaled(**values | {"generator": generators, "batch_size": rows, "latents": None})
                return drawn[0] if isinstance(drawn, tuple) else drawn

            if self.given is None:
                noise = draw(values["generator"], values["batch_size"])
                if self.seeds[0] != self.seeds[1]:
                    last = draw([torch.Generator("cpu").manual_seed(self.seeds[1])], 1)[0]
                    noise = slerp(noise[0], last, self.coefficients)
            else:
                example = draw(self.generators()[:1], 1)
                noise = self._given_frames(pipe, example, values["height"], values["width"])
            values["latents"] = noise.to(values["device"], values["dtype"])
            return stock(**values)

        return prepare_latents

    def _given_frames(self, pipe: Any, example: Tensor, height: int, width: int) -> Tensor:
        """All m frames' latents from the given ones, packed as `example`, one frame of what the pipeline would draw."""
        given, m = self.given, len(self.coefficients)
        assert given is not None
        unpacked = given.ndim > example.ndim
        shape = unpacked_shape(pipe, example, height, width) if unpacked else tuple(example.shape[1:])
        if given.shape[0] not in (2, m) or given.shape[1:] != shape:
            expected = " or ".join(str((rows, *shape)) for rows in dict.fromkeys((2, m)))
            raise LatentsError(f"latents must have shape {expected} at {height}x{width}; got {tuple(given.shape)}")
        if unpacked:
            given = pack_latents(pipe, given)
        return given if given.shape[0] == m else slerp(given[0], given[1], self.coefficients)


def image_of_each_frame(image: Any, num_frames: int) -> Any:
    """The image that img2img or inpainting starts from, once per frame, so that each is encoded with its frame's noise.

    Args:
        image: one image (PIL, or a tensor or array with or without a batch dimension), or one for each frame.

    Raises:
        ArgumentError: a batch of any other size.
    """
    repeated: Any
    if isinstance(image, list | tuple):
        count, repeated = len(image), list(image) * num_frames
    elif hasattr(image, "ndim"):
        batch = image if image.ndim == 4 else image[None]
        count = len(batch)
        repeated = batch.repeat(num_frames, 1, 1, 1) if isinstance(batch, Tensor) else [*batch] * num_frames
    else:
        count, repeated = 1, [image] * num_frames
    if count not in (1, num_frames):
        raise ArgumentError(f"image must be one image, or one for each of the {num_frames} frames; got {count}")
    return repeated if count == 1 else image


def check_latents(latents: Any, num_frames: int) -> Tensor | None:
    """What can be said of given latents before the pipeline is asked for its shape.

    Raises:
        LatentsError: not a floating-point tensor with 2 or `num_frames` rows, or not finite.
    """
    if latents is None:
        return None
    if not isinstance(latents, Tensor) or not latents.is_floating_point():
        raise LatentsError(
            f"latents must be a floating-point tensor, got {getattr(latents, 'dtype', type(latents).__name__)}"
        )
    if latents.ndim not in (3, 4, 5) or latents.shape[0] not in (2, num_frames):
        raise LatentsError(
            f"latents must be (2, C, h, w), the two endpoints, or ({num_frames}, C, h, w), every frame; "
            f"got {tuple(latents.shape)}"
        )
    if not torch.isfinite(latents).all():
        raise LatentsError("latents hold NaN or infinity")
    return latents

"""Noise that each frame starts from: the endpoints' slerped whole (arXiv 2403.17924, section 3)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..errors import ArgumentError, LatentsError

PARALLEL = 1 - 1e-6  # cosine above which sin(angle) is too small to divide by; lerp is then the same
NOISE_METHODS = ("prepare_latents", "prepare_intermediate_images")
NOISE_ARGUMENTS = {
    *("batch_size", "shape", "num_channels_latents", "num_latents_channels", "num_channels", "height", "width"),
    *("num_frames", "dtype", "device", "generator", "latents", "scheduler", "noise_scale", "do_patching", "patch_size"),
    *("num_image_tokens", "latent_dim", "image_embeddings", "num_images_per_prompt"),
}
"""Of methods that draw the noise which a pipeline starts from; others (image, timestep, ...) start from an image."""


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
    """Noise of every frame, in place of what a pipeline's own method draws for it.

    The method still draws for each frame (so that frame 0 is what the stock call generates from the same seed), scales
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
        return self._generators(self.seeds[0])

    def install(self, pipe: Any) -> None:
        """Replace the method on `pipe`, which must be a private copy.

        Raises:
            LatentsError: latents or two seeds for a pipeline whose latents come from an image.
        """
        if self.given is None and self.seeds[0] == self.seeds[1]:
            return
        method = _noise_method(pipe)
        if method is None:
            raise LatentsError(
                f"{type(pipe).__name__} starts from an image and adds one noise to all frames; it takes no {self._what}"
            )
        object.__setattr__(pipe, method, self._wrap(pipe, getattr(pipe, method)))

    @staticmethod
    def starts_from_noise(pipe: Any) -> bool:
        """Whether it is text to image; other pipelines' latents come from an image."""
        return _noise_method(pipe) is not None

    @property
    def _what(self) -> str:
        return "two seeds" if self.given is None else "latents"

    def _generators(self, seed: int) -> list[torch.Generator]:
        return [torch.Generator("cpu").manual_seed(seed) for _ in self.coefficients]

    def _wrap(self, pipe: Any, stock: Callable[..., Any]) -> Callable[..., Any]:
        name = type(pipe).__name__

        def prepare(*args: Any, **kwargs: Any) -> Any:
            call = inspect.signature(stock).bind(*args, **kwargs)
            generators = call.arguments.get("generator")
            if not isinstance(generators, list):
                generators = call.arguments["generator"] = self.generators()
            others = self._generators(self.seeds[1])
            places = {id(generator): frame for frame, generator in enumerate(generators)}
            packed = self.given is not None and self.given.ndim == 3
            drawn: list[int] = []

            def draw(func: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
                frame = places[id(kwargs["generator"])]
                drawn.append(frame)
                if self.given is not None:
                    like = func(*args, **kwargs | {"generator": None, "device": "meta"})
                    if packed:
                        return torch.zeros(like.shape, dtype=like.dtype)
                    rows = self._given(like.shape, call.arguments)
                    return rows[frame : frame + 1].reshape(like.shape).to(like.dtype)
                first, last = (func(*args, **kwargs | {"generator": g[frame]}) for g in (generators, others))
                return slerp(first[0], last[0], self.coefficients[frame : frame + 1])

            with _Draws(draw, places):
                made = stock(*call.args, **call.kwargs)
            if not drawn:
                raise LatentsError(f"{name} draws no noise for its frames; it takes no latents or two seeds")
            if not packed:
                return made
            like = made[0] if isinstance(made, tuple) else made
            call.arguments["latents"] = self._given(like.shape, call.arguments).to(like)
            return stock(*call.args, **call.kwargs)

        return prepare

    def _given(self, shape: Sequence[int], call: dict[str, Any]) -> Tensor:
        """All m frames' noise from what was given.

        Args:
            shape: of what the pipeline draws, or packs.
            call: arguments of its method.
        """
        given, m, wanted = self.given, len(self.coefficients), _without_ones(shape[1:])
        assert given is not None
        if given.shape[0] not in (2, m) or _without_ones(given.shape[1:]) != wanted:
            expected = " or ".join(str((rows, *wanted)) for rows in dict.fromkeys((2, m)))
            sides = [call[side] for side in ("height", "width") if side in call]
            size = f" at {sides[0]}x{sides[1]}" if len(sides) == 2 else ""
            raise LatentsError(f"latents must have shape {expected}{size}; got {tuple(given.shape)}")
        return given if given.shape[0] == m else slerp(given[0], given[1], self.coefficients)


class _Draws(TorchFunctionMode):
    """Puts `draw` in the place of every normal draw from some generators, which are given by their ids."""

    def __init__(self, draw: Callable[..., Tensor], generators: Container[int]) -> None:
        super().__init__()
        self._draw, self._generators = draw, generators

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func is torch.randn and id(options.get("generator")) in self._generators:
            return self._draw(func, args, options)
        return func(*args, **options)


def _noise_method(pipe: Any) -> str | None:
    """The method that draws the noise which a pipeline starts from; None where it starts from an image."""
    for name in NOISE_METHODS:
        method = getattr(pipe, name, None)
        parameters = set() if method is None else set(inspect.signature(method).parameters)
        if "generator" in parameters and parameters <= NOISE_ARGUMENTS:
            return name
    return None


def _without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(side for side in shape if side != 1)


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

"""Pinned ends: rows of a real image follow its inverted latents, whatever guidance and attention do.

Ends never depend on interior frames, so their latents may be set after every step. An end is then what the autoencoder
makes of the image, bit for bit, and interior frames attend to the image's own keys and values at every noise level.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..conditioning.latents import slerp
from ..errors import InversionError
from ..io.end_images import REAL_IMAGES
from ..io.image_files import fitted, opened_image
from ..io.weights import changed_weights, weights_digests
from ..keyframes import Inversion, Keyframe, RealEnds
from .inversion import ITERATIONS, invert_image, scheduler_for


@dataclass(frozen=True, eq=False)
class PinnedEnds:
    """Real images at one end or both, and how the frames between start.

    Args:
        first, last: inversions of the same number of steps; None means an end that only its text describes.
        strength: share of the steps that interior frames are denoised for.
        scheduler: whose steps the inversions are.
        keeps_files: the end frames are replaced by the images themselves.
    """

    first: Inversion | None
    last: Inversion | None
    strength: float
    scheduler: Any
    keeps_files: bool

    def install(self, pipe: Any, coefficients: Sequence[float]) -> None:
        """Pin the rows of one stock call, on a private copy with the scheduler in place.

        Raises:
            InversionError: in the call, latents of another shape than the inversions' or another number of steps.
        """
        run = _PinnedRun(self, coefficients)
        pipe.prepare_latents = run.start(pipe.prepare_latents)
        pipe.scheduler.step = run.step(pipe.scheduler.step)

    def images(self) -> dict[str, Image.Image]:
        """The images at the size of the frames, by the names of their files without ".png"."""
        ends = zip(REAL_IMAGES, (self.first, self.last), strict=True)
        return {name: end.image for name, end in ends if end is not None}

    def with_files(self, images: Any, coefficients: Sequence[float]) -> Any:
        """The frames with the images themselves at their ends, if that was asked for."""
        if not self.keeps_files:
            return images
        images = list(images) if isinstance(images, list) else copy.copy(images)
        for row, end in _ends(self, coefficients):
            images[row] = _like(end.image, images)
        return images


def pinned_ends(
    pipe: Any, keyframes: Sequence[Keyframe], real: RealEnds, call: dict[str, Any], seed: int
) -> PinnedEnds:
    """The real images of a sequence as pins; images that are no inversion yet are inverted.

    Args:
        keyframes: of the first and the last frame.
        call: arguments of the stock call that do not depend on the frames.
        seed: of the noise of path "noised".

    Raises:
        InversionError: an inversion of other steps, another scheduler or another model; and as `invert`.
        ImageFileError: as `invert`.
    """
    given = [keyframe.real for keyframe in keyframes if isinstance(keyframe.real, Inversion)]
    steps = int(call["num_inference_steps"])
    weights = weights_digests(pipe) if given else {}
    for inversion in given:
        changed = changed_weights(dict(inversion.weights), weights)
        if changed:
            raise InversionError(
                f"{inversion!r} is of another model: {', '.join(changed)} differ; invert it on this one"
            )
        if inversion.steps != steps:
            raise InversionError(
                f"{inversion!r} has {inversion.steps} steps, the sequence {steps}; give both the same "
                "num_inference_steps"
            )
        if _identity(inversion.scheduler) != _identity(given[0].scheduler):
            raise InversionError("the two ends were inverted with different schedulers; invert both with one")
    scheduler = given[0].scheduler if given else scheduler_for(pipe, real.path, steps)
    ends: list[Inversion | None] = []
    for keyframe in keyframes:
        if keyframe.real is None or isinstance(keyframe.real, Inversion):
            ends.append(keyframe.real)
            continue
        image, name = opened_image(keyframe.real)
        made = invert_image(
            pipe,
            image,
            keyframe.prompt,
            path=real.path,
            iterations=ITERATIONS,
            scheduler=scheduler,
            seed=seed,
            call=call,
            name=name,
        )
        ends.append(made)
    return PinnedEnds(ends[0], ends[1], real.strength, scheduler, real.keep_ends == "file")


class _PinnedRun:
    """The pins of one stock call."""

    def __init__(self, pins: PinnedEnds, coefficients: Sequence[float]) -> None:
        self._coefficients = coefficients
        self._rows = list(_ends(pins, coefficients))
        self._steps = self._rows[0][1].steps
        self._from_noise = any(end.path == "noised" for _, end in self._rows)
        self._interior_from = self._steps - max(1, round(pins.strength * self._steps))
        self._done = 0

    def start(self, stock: Callable[..., Any]) -> Callable[..., Any]:
        """`prepare_latents` with the ends' noisiest latents, and interior frames between them."""

        def prepare_latents(*args: Any, **kwargs: Any) -> Any:
            drawn = stock(*args, **kwargs)
            latents = self._pinned(drawn[0] if isinstance(drawn, tuple) else drawn)
            if not self._from_noise:
                latents = self._between(latents)
            return (latents, *drawn[1:]) if isinstance(drawn, tuple) else latents

        return prepare_latents

    def step(self, stock: Callable[..., Any]) -> Callable[..., Any]:
        """The scheduler's step, its result pinned."""

        @functools.wraps(stock)  # stock calls read the signature
        def step(*args: Any, **kwargs: Any) -> Any:
            result = stock(*args, **kwargs)
            self._done += 1
            if isinstance(result, tuple):
                return (self._pinned(result[0]), *result[1:])
            result.prev_sample = self._pinned(result.prev_sample)
            return result

        return step

    def _pinned(self, latents: Tensor) -> Tensor:
        if self._done > self._steps:
            raise InversionError(f"the stock call makes more than the {self._steps} steps of the inverted images")
        latents = latents.clone()
        for row, end in self._rows:
            level = end.latents[self._done]
            if level.shape != latents.shape[1:]:
                raise InversionError(
                    f"{end!r} has latents {tuple(level.shape)}, the sequence's are {tuple(latents.shape[1:])}; invert "
                    "the image at the height and width of the sequence"
                )
            latents[row] = level.to(latents)
        return self._between(latents) if 0 < self._done == self._interior_from else latents

    def _between(self, latents: Tensor) -> Tensor:
        """Interior frames slerped between the ends at this level."""
        between = slerp(latents[0], latents[-1], self._coefficients)
        return torch.stack([latents[0], *between[1:-1], latents[-1]])


def _ends(pins: PinnedEnds, coefficients: Sequence[float]) -> list[tuple[int, Inversion]]:
    """The rows that show a real image."""
    shown = {0: pins.first, 1: pins.last}
    rows = [(row, shown.get(t)) for row, t in enumerate(coefficients)]  # type: ignore[call-overload]
    return [(row, end) for row, end in rows if end is not None]


def _identity(scheduler: Any) -> tuple[str, dict[str, Any]]:
    config = {name: value for name, value in scheduler.config.items() if not name.startswith("_")}
    return type(scheduler).__name__, config


def _like(image: Image.Image, images: Any) -> Any:
    """An image in the form and the size of the frames, which some pipelines resize after decoding."""
    if isinstance(images, list):
        return fitted(image, *images[0].size)
    height, width = images.shape[-2:] if isinstance(images, Tensor) else images.shape[1:3]
    array = np.asarray(fitted(image, width, height), dtype=np.float32) / 255
    return torch.from_numpy(array).permute(2, 0, 1).to(images) if isinstance(images, Tensor) else array

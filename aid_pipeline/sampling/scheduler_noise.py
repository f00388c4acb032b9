"""Noise that a scheduler adds in its steps: equal for all frames and from the sequence's seed, whoever draws it.

Many stock loops (SD3, FLUX, ...) call `scheduler.step` without a generator; a scheduler that draws noise then takes it
from torch's global one, another for every frame.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..errors import UnsupportedPipelineError

OWN_SOURCES = ("noise_sampler", "noise_sampler_seed")  # one Brownian path through the whole batch

_SAME_SHAPE = {torch.randn_like: torch.randn, torch.rand_like: torch.rand}
_DRAWS = (torch.randn, torch.rand, *_SAME_SHAPE, torch.randint, torch.normal, Tensor.normal_, Tensor.uniform_)


def share_noise(scheduler: Any, num_frames: int, seed: int) -> None:
    """Let every step of a scheduler, a private copy, draw one noise for all frames, repeatably.

    A generator that the stock call hands on is left to it.

    Args:
        num_frames: rows of a batch that are frames; each gets the noise that a batch of one would.
        seed: of the noise; as after `torch.manual_seed(seed)` for one image.

    Raises:
        UnsupportedPipelineError: a scheduler with a source of noise of its own.
    """
    if any(hasattr(scheduler, name) for name in OWN_SOURCES):
        raise UnsupportedPipelineError(
            f"{type(scheduler).__name__} draws one noise for a whole batch from a source of its own, so frames would "
            "differ by it; use a scheduler whose step takes a generator (DPMSolverMultistepScheduler with "
            'algorithm_type="sde-dpmsolver++")'
        )
    step = getattr(scheduler, "step", None)
    if step is None:
        return
    scheduler.step = _StepWithOneNoise(step, torch.Generator("cpu").manual_seed(seed), num_frames)


class _StepWithOneNoise:
    """A scheduler's `step` with `_OneNoise`; a copy of the scheduler has one of its own."""

    def __init__(self, step: Callable[..., Any], generator: torch.Generator, num_frames: int) -> None:
        functools.update_wrapper(self, step)  # stock calls read the signature to see whether it takes a generator
        self._step, self._generator, self._frames = step, generator, num_frames

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _OneNoise(self._generator, self._frames):
            return self._step(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> _StepWithOneNoise:
        return type(self)(copy.deepcopy(self._step, memo), self._generator, self._frames)


class _OneNoise(TorchFunctionMode):
    """Draws without a generator give all frames the same numbers, from `generator`."""

    def __init__(self, generator: torch.Generator, num_frames: int) -> None:
        super().__init__()
        self._generator, self._frames = generator, num_frames

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func not in _DRAWS or options.get("generator") is not None:
            return func(*args, **options)
        if func in (torch.randn, torch.rand):
            shape = options.pop("size", args[0] if args and not isinstance(args[0], int) else args)
            return self._draw(func, tuple(shape), options)
        if func in _SAME_SHAPE:
            like = options.pop("input", None) if not args else args[0]
            options.pop("memory_format", None)
            options = {"dtype": like.dtype, "device": like.device, **options}
            return self._draw(_SAME_SHAPE[func], tuple(like.shape), options)
        return self._seeded(func, args, options)

    def _draw(self, func: Any, shape: tuple[int, ...], options: dict[str, Any]) -> Tensor:
        """On the CPU, as diffusers draws from a CPU generator, for one frame."""
        device = options.pop("device", None)
        options.pop("generator", None)
        shared = bool(shape) and shape[0] == self._frames
        drawn: Tensor = func((1, *shape[1:]) if shared else shape, generator=self._generator, **options)
        return (drawn.expand(shape).clone() if shared else drawn).to(device or "cpu")

    def _seeded(self, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Any other draw: repeatable, from a seed of the same generator."""
        device = next((value.device for value in args if isinstance(value, Tensor)), torch.device("cpu"))
        seed = int(torch.randint(2**62, (), generator=self._generator))
        return func(*args, **options | {"generator": torch.Generator(device).manual_seed(seed)})

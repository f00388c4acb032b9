"""The stock call itself: with images and clips as the pipeline takes them, and its refusals as typed errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from ..conditioning.replay import REFUSALS
from ..errors import AIDError, ArgumentError
from ..families import generates_clips, is_combined
from .clip_inputs import for_each_frame, visual_inputs
from .frame_inputs import image_for_each_frame, image_inputs
from .stock_call import CallMonitor


class UnequalNoiseError(ArgumentError):
    """An input beside the prompts drew noise for some frames alone."""


class Run(Protocol):
    """One stock call on a private copy."""

    pipe: Any
    monitor: CallMonitor

    def arguments(self) -> dict[str, Any]:
        """Those of the stock call."""


R = TypeVar("R", bound=Run)


def call_stock(
    make_run: Callable[[Mapping[str, Any]], R], pipe: Any, call: Mapping[str, Any], num_frames: int, output_type: str
) -> tuple[R, Any]:
    """A run and what its stock call returned; images and clips are one for all frames, or one for each.

    A video pipeline is first given one for each: some take a single one without a word, for the first prompt alone.

    Args:
        make_run: makes it, with some arguments in place of those of `call`.
        pipe: the pipeline.
        call: arguments of the stock call, without what depends on the frames.

    Raises:
        ArgumentError: it refuses its arguments before the first step, or images and clips in both forms.
    """
    kind, clips = type(pipe).__name__, generates_clips(pipe)
    inputs = visual_inputs(call) if clips else image_inputs(call)
    each = for_each_frame if clips else image_for_each_frame
    forms: list[Callable[[], dict[str, Any]]] = [dict]
    if inputs:
        forms.insert(0 if clips else 1, lambda: each(call, num_frames))
    latent = is_combined(pipe) and output_type == "latent"  # which decoders refuse at the end
    refusals: list[Exception] = []
    for form in forms:
        run = make_run(form())
        try:
            return run, run.pipe(**run.arguments())
        except (*REFUSALS, RuntimeError) as error:
            passes = isinstance(error, AIDError) and not (clips and inputs) and not isinstance(error, UnequalNoiseError)
            if passes or not (latent or _may_be_arguments(error, run.monitor, bool(inputs))):
                raise
            refusals.append(error)
    if isinstance(refusals[-1], AIDError):
        raise refusals[-1]
    reasons = "; ".join(dict.fromkeys(map(str, refusals)))
    both = f", with {', '.join(inputs)} once for all frames and once for each" if inputs else ""
    raise ArgumentError(f"{kind} refuses the call{both}: {reasons}") from refusals[-1]


@contextmanager
def equal_noise(pipe: Any, denoiser: nn.Module, generators: Sequence[torch.Generator], alike: bool) -> Iterator[None]:
    """For a denoising loop, all frames' generators go on as the first's, which has drawn all that a single call draws.

    An input that is one for all frames (an image's latents) draws from the first generator alone.

    Args:
        generators: of the frames.
        alike: the frames start from equal noise, which is then checked in the first denoiser call.

    Raises:
        UnequalNoiseError: the frames start from different noise, since such an input drew before their own.
    """
    states = [generator.get_state() for generator in generators]
    if all(torch.equal(state, states[0]) for state in states):
        yield
        return
    name = type(pipe).__name__
    refusal = UnequalNoiseError(f"{name} adds noise to an input that is not one for each frame, so frames would differ")
    if not alike:
        raise refusal
    for generator in generators:
        generator.set_state(states[0])

    def check(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hook.remove()
        sample = args[0] if args else next(iter(kwargs.values()))
        rows = sample if isinstance(sample, torch.Tensor) else torch.stack(list(sample))
        blocks = rows.unflatten(0, (-1, len(generators)))
        if not bool((blocks == blocks[:, :1]).all()):
            raise refusal

    hook = denoiser.register_forward_pre_hook(check, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _may_be_arguments(error: Exception, monitor: CallMonitor, inputs: bool) -> bool:
    """Whether the stock call may have failed because of its arguments; shapes of images show in the first step."""
    if isinstance(error, torch.OutOfMemoryError):
        return False
    if inputs:
        return monitor.steps_done == 0
    return isinstance(error, REFUSALS) and not monitor.started

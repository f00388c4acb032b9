"""The stock call itself: with images and clips as the pipeline takes them, and its refusals as typed errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import torch

from ..conditioning.replay import REFUSALS
from ..errors import AIDError, ArgumentError
from ..families import generates_clips, is_combined
from .clip_inputs import for_each_frame, visual_inputs
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
    """A run and what its stock call returned.

    Args:
        make_run: makes it, with some arguments in place of those of `call`.
        pipe: the pipeline.
        call: arguments of the stock call, without what depends on the frames.

    Raises:
        ArgumentError: what the stock call says of its arguments before its first step.
    """
    if generates_clips(pipe) and visual_inputs(call):
        return _with_inputs(make_run, pipe, call, num_frames)
    run = make_run({})
    try:
        return run, run.pipe(**run.arguments())
    except UnequalNoiseError:
        if not visual_inputs(call):
            raise
        run = make_run(for_each_frame(call, num_frames))
        return run, run.pipe(**run.arguments())
    except REFUSALS as error:
        latent = is_combined(pipe) and output_type == "latent"  # which decoders refuse at the end
        if isinstance(error, AIDError) or (run.monitor.started and not latent):
            raise
        raise ArgumentError(f"{type(pipe).__name__} refuses the call: {error}") from error


def _with_inputs(
    make_run: Callable[[Mapping[str, Any]], R], pipe: Any, call: Mapping[str, Any], num_frames: int
) -> tuple[R, Any]:
    """The stock call with an image or a clip: most pipelines take one for each prompt, others one for all.

    In this order, since some take one without a word and give it to the first prompt alone.

    Raises:
        ArgumentError: neither before the end of the first step.
    """
    refusals: list[Exception] = []
    for inputs in (for_each_frame(call, num_frames), {}):
        run = make_run(inputs)
        try:
            return run, run.pipe(**run.arguments())
        except (*REFUSALS, RuntimeError) as error:
            if run.monitor.steps_done or isinstance(error, torch.OutOfMemoryError):
                raise
            refusals.append(error)
    if isinstance(refusals[1], AIDError):
        raise refusals[1]
    names = ", ".join(visual_inputs(call))
    reasons = "; ".join(dict.fromkeys(map(str, refusals)))
    raise ArgumentError(
        f"{type(pipe).__name__} does not take {names} for several prompts in one call, neither one for each nor one "
        f"for all: {reasons}"
    ) from refusals[1]

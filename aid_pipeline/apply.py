"""The lower-level API: put attention interpolation on a stock pipeline, and take it off again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from .config import AIDConfig
from .frames import Frames


class AIDHandle:
    """Attention interpolation in place on one denoiser; made by `apply_aid`."""

    def report(self) -> str:
        """Which implementation serves each attention layer and why; the first line is the summary, then one line a layer.

        Example of a first line: `32 layers: triton 20, sdpa 12`. Before the first step it says what is expected from the
        model's dtype and device, afterwards what was seen.
        """
        raise NotImplementedError

    def remove(self) -> None:
        """Put the very processors back that were installed before, and free what the sequence kept. Idempotent."""
        raise NotImplementedError


def apply_aid(pipe_or_denoiser: Any, config: AIDConfig, frames: Frames) -> AIDHandle:
    """Interpolate the attention of the next denoising call of a stock pipeline.

    Args:
        pipe_or_denoiser: a diffusers pipeline with a `unet` or `transformer`, or that module itself (compiled or not).
        config: what to do.
        frames: what the call's rows mean.

    Returns:
        A handle; call `remove()` when the denoising call is over, or use `with aid(...)`. Applying again replaces: the old
        handle is removed first. Steps are counted from each first call on; a handle serves one denoising call after another.

    Raises:
        UnsupportedPipelineError: no denoiser, no attention layers of ours, a processor without the primitive, PAG.
        BusyError: another thread's sequence runs on this denoiser right now.
        RowsError: (from the denoising call) the frames are not among its rows, or the unconditional rows look the same.
    """
    raise NotImplementedError


@contextmanager
def aid(pipe_or_denoiser: Any, config: AIDConfig, frames: Frames) -> Iterator[AIDHandle]:
    """`apply_aid` for the length of a `with` block; removes on any exit. Arguments, result and errors as there."""
    handle = apply_aid(pipe_or_denoiser, config, frames)
    try:
        yield handle
    finally:
        handle.remove()


def find_denoiser(pipe_or_denoiser: Any) -> nn.Module:
    """The module that denoises: `unet` or `transformer` of a pipeline, or the module itself.

    Raises:
        UnsupportedPipelineError: neither, or a pipeline of the PAG kind.
    """
    raise NotImplementedError

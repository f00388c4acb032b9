"""Private copy of a pipeline for one stock call, and a monitor of that call."""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import UnsupportedPipelineError
from .scheduler_steps import LOOP_LENGTH

Progress = Callable[[int, int], None]  # steps done, steps in all

# what turns decoded frames into output: the pipeline's attribute, its method and the argument with a row per frame
_DECODED = (("image_processor", "postprocess", "image"), ("video_processor", "postprocess_video", "video"))


def private_copy(pipe: Any) -> Any:
    """A shallow copy for one call: shares every weight, owns the scheduler's state and the VAE's slicing switch.

    The stock call keeps its arguments on the pipeline object and its timesteps in the scheduler; on a copy, calls do
    not see each other. Decoding one frame at a time keeps memory flat in the number of frames.
    """
    own = copy.copy(pipe)
    vars(own).pop(LOOP_LENGTH, None)
    if getattr(own, "scheduler", None) is not None:
        own.scheduler = copy.deepcopy(pipe.scheduler)
    vae = getattr(own, "vae", None)
    if vae is not None and "use_slicing" in vars(vae):  # not through a compiled wrapper, which would pass the switch on
        own.vae = copy.copy(vae)
        own.vae.use_slicing = True
    return own


@dataclass
class CallMonitor:
    """Monitor of one stock call: when denoising began and ended, its steps, and which frames are not finite.

    Args:
        denoising: entered for the length of the denoising loop, with the number of steps it runs.
        progress: called after every step.
    """

    denoising: Callable[[int], AbstractContextManager[Any]]
    progress: Progress | None = None
    started: float = 0.0
    ended: float = 0.0
    steps_done: int = 0
    not_finite: set[int] = field(default_factory=set)
    _stop: Callable[[], None] | None = field(default=None, init=False)

    def install(self, pipe: Any, original: Any) -> None:
        """Put the monitor on `pipe`, which must be a private copy of `original`.

        A stop button sets `_interrupt` on the pipeline that its owner holds; the copy then stops as that would.
        """

        def stop() -> None:
            pipe._interrupt = getattr(pipe, "_interrupt", False) or getattr(original, "_interrupt", False)

        if hasattr(type(original), "interrupt"):
            if getattr(original, "_interrupt", False):
                original._interrupt = False  # of an earlier run; the stock call does so when it begins
            self._stop = stop
        pipe.progress_bar = self._progress_bar(pipe.progress_bar)
        for name, method, value in _DECODED:
            if hasattr(getattr(pipe, name, None), method):  # another image processor prepares the encoder's input
                processor = copy.copy(getattr(pipe, name))
                setattr(processor, method, self._postprocess(getattr(processor, method), value))
                setattr(pipe, name, processor)

    def check_finite(self, frames: Any) -> None:
        """Note which of the frames (first dimension) hold NaN or infinity."""
        if isinstance(frames, Tensor):
            finite = torch.isfinite(frames).flatten(1).all(dim=1)
            self.not_finite |= {int(index) for index in (~finite).nonzero().flatten()}

    def _progress_bar(self, stock: Callable[..., Any]) -> Callable[..., Any]:
        """The pipeline's own bar, which every stock loop opens just before its first step and updates after each."""

        @contextmanager
        def progress_bar(iterable: Any = None, total: int | None = None) -> Iterator[Any]:
            steps = total if total is not None else len(iterable)
            bar = stock(iterable=iterable, total=total)
            with self.denoising(steps), bar:
                self.started = time.perf_counter()
                self._count(0, steps)
                yield _CountedBar(bar, lambda done: self._count(done, steps))
                _wait_for_device()
                self.ended = time.perf_counter()

        def loop(iterable: Any = None, total: int | None = None) -> _Loop:
            return _Loop(progress_bar(iterable, total), iterable)

        return loop

    def _count(self, done: int, steps: int) -> None:
        self.steps_done = done
        if self._stop is not None:
            self._stop()
        if self.progress is not None:
            self.progress(done, steps)

    def _postprocess(self, stock: Callable[..., Any], value: str) -> Callable[..., Any]:
        """Check decoded frames before they are clamped to colours, where infinity would pass for white."""
        signature = inspect.signature(stock)

        def postprocess(*args: Any, **kwargs: Any) -> Any:
            self.check_finite(signature.bind(*args, **kwargs).arguments[value])
            return stock(*args, **kwargs)

        return postprocess


class _Loop:
    """A stock loop's progress bar, which it enters and updates, or iterates over."""

    def __init__(self, bar: AbstractContextManager[_CountedBar], iterable: Any) -> None:
        self._bar, self._iterable = bar, iterable

    def __enter__(self) -> _CountedBar:
        return self._bar.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        return self._bar.__exit__(*error)

    def update(self, steps: int = 1) -> None:
        """A loop that only counts its steps; it began unseen.

        Raises:
            UnsupportedPipelineError: always.
        """
        raise UnsupportedPipelineError(
            "the pipeline updates a progress bar that it never entered, so the beginning of its denoising loop is not "
            "known; use `with aid(...)` around its call"
        )

    def __iter__(self) -> Iterator[Any]:
        with self._bar as bar:
            for item in self._iterable:
                yield item
                bar.update()


class _CountedBar:
    """Passes updates on to the pipeline's bar and counts them."""

    def __init__(self, bar: Any, count: Callable[[int], None]) -> None:
        self._bar, self._count, self._done = bar, count, 0

    def update(self, steps: int = 1) -> None:
        self._done += steps
        self._bar.update(steps)
        self._count(self._done)


def _wait_for_device() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()

"""Pair of forward hooks around every denoiser call: runs it in chunks, each with the attention that its rows need.

The hook before the call asks which step it is (`step_counter.py`), which rows are frames (`row_matching.py`) and how to
split it (`chunking.py`), runs all chunks but the last itself, and hands the last one on to the module's own forward.
The hook after the call joins the outputs and clears all per-call state, also when the call failed. Hooks rather than a
wrapped `forward`, because offloading replaces `forward`, and because every way of compiling a denoiser leaves its hooks
outside the graph.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from ..config import AIDConfig
from ..errors import BusyError, UnsupportedPipelineError
from . import kv_bank
from .batching import DenoiserCall, join_outputs
from .chunking import Chunk, endpoint_rows, plan_chunks
from .frames import Frames
from .image_embeds import FrameImageEmbeds
from .masks import MaskChecker
from .memory import auto_chunk, measure_row
from .row_checks import check_embedding_rows, check_latent_rows
from .row_groups import REPEATED_ARGUMENTS, one_of_each
from .row_matching import FrameFinder
from .state import AttentionContext, DenoiserState
from .step_caches import check_step_caches, step_caches
from .step_counter import StepCounter

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

TIMESTEPS = ("timestep", "timesteps", "t", "timestep_ratio", "r")
"""What denoisers call the timestep."""


def _with_timesteps(call: DenoiserCall) -> DenoiserCall:
    """The call with a timestep for every row, where the pipeline gives one for each block of rows."""
    for name in TIMESTEPS:
        value = call.named().get(name)
        if not isinstance(value, Tensor) or value.ndim != 1:
            continue
        if 1 < len(value) < call.batch and call.batch % len(value) == 0:
            return call.with_value(name, value.repeat_interleave(call.batch // len(value)))
    return call


@dataclass
class _CallUnderWay:
    """A denoiser call between its two hooks: outputs so far, their order, and the rows of the endpoints."""

    outputs: list[Any] = field(default_factory=list)
    order: Tensor | None = None
    endpoint_rows: Sequence[int] = ()


class DenoiserHook:
    """Hooks of one sequence on one denoiser.

    Args:
        denoiser: the module itself, not its compiled wrapper.
        layers: its rebound attention layers.
        state: what they read.
        config, frames: as `apply_aid`.
        skips_linear_cross: leave text cross-attention plain (see `layers.py`).
        scheduler: the pipeline's, if it is known, which tells steps apart that rounding joins.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        layers: list[kv_bank.LayerCache],
        state: DenoiserState,
        config: AIDConfig,
        frames: Frames,
        skips_linear_cross: bool,
        scheduler: Any = None,
    ) -> None:
        self._denoiser, self._layers, self._state, self._frames = denoiser, layers, state, frames
        self._names = tuple(inspect.signature(type(denoiser).forward).parameters)[1:]
        self._base = AttentionContext(None, config, skips_linear_cross=skips_linear_cross)
        self._active_steps = config.active_steps(frames.num_steps)
        self._steps = StepCounter(frames.num_steps, scheduler)
        self._finder = FrameFinder(frames)
        self._masks = MaskChecker()
        self._images = None if frames.image_embeds is None else FrameImageEmbeds(denoiser, frames)
        self._chunk = frames.chunk
        self._in_blocks = False  # until latents of a call are seen to be a block of frames each
        self._one_batch = bool(step_caches(denoiser))
        self._chunks: dict[tuple[Any, ...], tuple[list[Chunk], Tensor | None]] = {}
        self._calls = 0
        self._call = _CallUnderWay()
        self._thread = threading.current_thread()
        self._handles = [
            denoiser.register_forward_pre_hook(self._before, with_kwargs=True),
            denoiser.register_forward_hook(self._after, with_kwargs=True, always_call=True),
        ]

    @property
    def chunk(self) -> int | None:
        """Rows per chunk; None means the batch as it comes, or "auto" before the first call."""
        return self._chunk if isinstance(self._chunk, int) else None

    @property
    def under_way(self) -> bool:
        """Between the first and the last step of a call."""
        return 0 <= self._steps.step < self._frames.num_steps - 1

    def __reduce__(self) -> NoReturn:
        raise BusyError("this denoiser is interpolated right now; remove the handle before it is copied or pickled")

    def check_found(self) -> None:
        """Raise RowsError if denoiser calls were seen, but the frames never."""
        self._finder.check_found()

    def remove(self) -> None:
        """Take the hooks off and forget everything that a call may have left."""
        for handle in self._handles:
            handle.remove()
        self._clear()

    # only this frame is kept from being compiled: the chunks inside it are compiled like the module's own call
    @torch.compiler.disable(recursive=False)
    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        try:
            chunks, call = self._plan(args, kwargs)
            for chunk in chunks[:-1]:
                part = self._start(chunk, call)
                self._call.outputs.append(module.forward(*part.args, **part.kwargs))
                self._finish(chunk)
            last = self._start(chunks[-1], call)
            return last.args, last.kwargs
        except BaseException:
            self._clear()
            raise

    @torch.compiler.disable
    def _after(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        try:
            if output is None:
                return None
            outputs, order = [*self._call.outputs, output], self._call.order
            joined = output if order is None and len(outputs) == 1 else join_outputs(outputs, order)
            self._store_endpoints(joined)
            return joined
        finally:
            self._clear()

    @torch.compiler.disable
    def _plan(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Chunk], DenoiserCall]:
        """What to run for this call, and the arguments of the whole batch."""
        self._check_undisturbed()
        self._clear()  # an interrupt (Ctrl-C) runs no hooks, so an earlier call may have left something
        self._calls += 1
        call = _with_timesteps(DenoiserCall(self._names, args, kwargs))
        arguments = call.named()
        step = self._advance(arguments)
        check_embedding_rows(arguments, call.batch)
        if not (self._in_blocks or call.in_lists) and step > 0:
            self._in_blocks = check_latent_rows(call.sample, self._finder.rows)
        start = self._find(arguments, call.batch, first_step=step == 0)
        if self._one_batch:
            check_step_caches(self._denoiser, self._chunk, call.batch, self._frames.endpoints is not None)
        if start is not None and self._images is not None:
            call = self._images.inject(call, start)
        active = start if step < self._active_steps else None
        if active is not None:
            self._state.biased = self._masks.check(arguments, slice(active, active + self._finder.rows))
        if self._chunk == "auto":
            self._chunk = call.batch if self._one_batch else self._rows_that_fit(call)
        return self._chunks_of(call, active), call

    def _advance(self, arguments: dict[str, Any]) -> int:
        """The call's step; the first of a run and the one after it are the finder's to know."""
        timestep = next((arguments[name] for name in TIMESTEPS if arguments.get(name) is not None), None)
        if timestep is None:
            raise UnsupportedPipelineError(
                f"{type(self._denoiser).__name__} takes no timestep, so steps cannot be counted"
            )
        before = self._steps.step
        step = self._steps.advance(timestep)
        if step != before:
            self._finder.start_step()
        if step != before and step == 0:
            self._finder.start_run()
        elif step == 1 and before == 0:
            self._finder.check_found()
        return step

    def _find(self, arguments: dict[str, Any], batch: int, first_step: bool) -> int | None:
        """The frames' first row; not looked for where attention is plain throughout and nobody asks."""
        if self._active_steps == 0 and self._images is None:
            return None
        once = {name: one_of_each(value, batch) for name, value in arguments.items() if name in REPEATED_ARGUMENTS}
        return self._finder.find(self._finder.embeddings_in(arguments | once), first_step)

    def _chunks_of(self, call: DenoiserCall, active: int | None) -> list[Chunk]:
        """The call's chunks; starts the call under way, with the endpoints' outputs where they are cached.

        Args:
            active: the frames' first row in a call that interpolates.
        """
        cache, batch, device = self._frames.endpoints, call.batch, call.device
        endpoints = [] if cache is None else self._finder.endpoint_rows(batch)
        cached = endpoints if cache is not None and cache.filled else []
        base = replace(self._base, skips_linear_cross=False) if self._finder.by_place else self._base
        key = (batch, active, device, base.skips_linear_cross)
        if key not in self._chunks:
            plan = None if active is None else self._finder.plan(active, batch, device)
            self._chunks[key] = plan_chunks(
                batch, self.chunk, plan, base, device, saves=cache is not None, cached=cached
            )
        chunks, order = self._chunks[key]
        outputs = [cache.load(self._calls - 1, self._layers, device)] if cache is not None and cached else []
        self._call = _CallUnderWay(outputs, order, endpoints)
        return chunks

    def _store_endpoints(self, output: Any) -> None:
        """After a call, what its endpoints left goes into the cache that is being filled, if there is one."""
        cache, last = self._frames.endpoints, self._state.current
        if cache is None or cache.filled:
            return
        if last is not None and last.saved_rows:
            kv_bank.collect(self._layers)
        cache.store(output, self._call.endpoint_rows, self._layers)

    def _check_undisturbed(self) -> None:
        if threading.current_thread() is not self._thread:
            raise BusyError(
                "another thread's sequence uses this denoiser; wait for it, or give every thread its own pipeline"
            )
        if self._state.handle is None or not self._state.handle.intact():
            raise UnsupportedPipelineError(
                "the attention processors were replaced during the sequence; load or fuse adapters, and fuse "
                "projections, before it starts (pipelines that install processors inside their call cannot be used)"
            )

    def _rows_that_fit(self, call: DenoiserCall) -> int:
        """Rows per chunk; on a GPU by what a first row takes."""
        device = call.device
        if device.type != "cuda":
            return auto_chunk(call.batch, device)
        one = Chunk(slice(0, 1), 1, replace(self._base, rows=1, saved_rows=1))

        def run_one() -> None:
            part = self._start(one, call)
            self._denoiser.forward(*part.args, **part.kwargs)
            self._finish(one)

        per_row = measure_row(run_one, device)
        endpoints = len(endpoint_rows(self._frames.plan)) * self._frames.num_images_per_prompt
        reserved = kv_bank.bank_bytes(self._layers) * endpoints
        self._clear()
        return auto_chunk(call.batch, device, per_row, reserved)

    @torch.compiler.disable
    def _start(self, chunk: Chunk, call: DenoiserCall) -> DenoiserCall:
        """Set the attention of a chunk; returns the call for its rows."""
        # a plain chunk is no different from a call without interpolation, and shares its compiled graph
        needed = chunk.context.plan is not None or chunk.context.saved_rows
        self._state.current = chunk.context if needed else None
        whole = chunk.count == call.batch and isinstance(chunk.rows, slice)
        return call if whole else call.take(chunk.rows)

    @torch.compiler.disable
    def _finish(self, chunk: Chunk) -> None:
        self._state.current = None
        if chunk.context.saved_rows:
            kv_bank.collect(self._layers)

    @torch.compiler.disable
    def _clear(self) -> None:
        self._state.current = None
        self._state.layer = None
        self._call = _CallUnderWay()
        kv_bank.clear(self._layers)

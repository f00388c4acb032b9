"""The pair of forward hooks that looks at every denoiser call: which rows are frames, which step it is, how to run it.

The hook before the call finds the frames, sets the pass that the rebound attention reads and, when the batch is run in
chunks, runs all chunks but the last itself; it hands the last one on to the module's own forward. The hook after the
call joins the outputs and clears all per-call state, also when the call failed. Hooks rather than a wrapped `forward`,
because offloading replaces `forward`, and because every way of compiling a denoiser leaves its hooks outside the graph.
"""

from __future__ import annotations

import inspect
import threading
from typing import Any, NoReturn

import torch
from diffusers import SD3Transformer2DModel
from torch import Tensor, nn

from ..config import AIDConfig
from ..errors import BusyError, RowsError, UnsupportedPipelineError
from . import kv_bank as bank
from .chunking import Run, auto_chunk, join_outputs, measure_row, plan_runs, take_rows
from .frames import Frames
from .operator_call import check_mask_values
from .row_matching import FrameFinder
from .state import DenoiserState, Pass
from .step_counter import StepCounter

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
IMAGE_ARGUMENTS = (("added_cond_kwargs", "image_embeds"), ("joint_attention_kwargs", "ip_adapter_image_embeds"))
"""Where UNets, and where transformers, take IP-Adapter embeddings."""


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
        layers: list[bank.Layer],
        state: DenoiserState,
        config: AIDConfig,
        frames: Frames,
        skips_linear_cross: bool,
        scheduler: Any = None,
    ) -> None:
        self.calls = 0
        self.found = False
        self._denoiser = denoiser
        self._layers = layers
        self._state = state
        self._config = config
        self._frames = frames
        self._skips_linear_cross = skips_linear_cross
        self._finder = FrameFinder(frames)
        self._steps = StepCounter(frames.num_steps, scheduler)
        self._active_steps = config.active_steps(frames.num_steps)
        self._chunk = frames.chunk
        self._parameters = list(inspect.signature(type(denoiser).forward).parameters)[1:]
        self._runs: dict[tuple[Any, ...], tuple[list[Run], Tensor | None]] = {}
        self._placed_images: dict[tuple[int, int], list[Tensor]] = {}
        self._checked_masks: list[Tensor] = []
        self._outputs: list[Any] = []
        self._back: Tensor | None = None
        self._end_rows: list[int] = []
        self._thread = threading.current_thread()
        self._handles = [
            denoiser.register_forward_pre_hook(self._before, with_kwargs=True),
            denoiser.register_forward_hook(self._after, with_kwargs=True, always_call=True),
        ]

    @property
    def needs_frames(self) -> bool:
        """Whether the frames must be found at all: with plain attention throughout nobody asks."""
        return self._active_steps > 0 or self._frames.image_embeds is not None

    @property
    def chunk(self) -> int | None:
        """Rows per run; None: the batch as it comes, or "auto" before the first call."""
        return self._chunk if isinstance(self._chunk, int) else None

    @property
    def under_way(self) -> bool:
        """Between the first and the last step of a call."""
        return 0 <= self._steps.step < self._frames.num_steps - 1

    def __reduce__(self) -> NoReturn:
        raise BusyError("this denoiser is interpolated right now; remove the handle before it is copied or pickled")

    def remove(self) -> None:
        """Take the hooks off and forget everything that a call may have left."""
        for handle in self._handles:
            handle.remove()
        self._clear()

    def check_found(self) -> None:
        """Raise RowsError if denoiser calls were seen, but the frames never."""
        if self.calls and self.needs_frames and not self.found:
            raise RowsError(
                "no denoiser call had the frames' embeddings, so nothing was interpolated; Frames.prompt_embeds must "
                "be the very prompt_embeds of the stock call, one row per frame, and num_images_per_prompt the same"
            )

    # only this frame is kept from being compiled: the runs inside it are compiled like the module's own call
    @torch.compiler.disable(recursive=False)
    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        try:
            runs, args, kwargs = self._plan(args, kwargs)
            for run in runs[:-1]:
                run_args, run_kwargs = self._start(run, args, kwargs)
                self._outputs.append(module.forward(*run_args, **run_kwargs))
                self._finish(run)
            return self._start(runs[-1], args, kwargs)
        except BaseException:
            self._clear()
            raise

    @torch.compiler.disable
    def _after(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        outputs, back = [*self._outputs, output], self._back
        if output is None:
            self._clear()
            return None
        joined = output if back is None and len(outputs) == 1 else join_outputs(outputs, back)
        self._remember(joined)
        self._clear()
        return joined

    def _remember(self, output: Any) -> None:
        """After a call, what its endpoints left goes into the memory that is being filled, if there is one."""
        memory, last = self._frames.endpoints, self._state.current
        if memory is None or memory.filled:
            return
        if last is not None and last.saved_rows:
            bank.collect(self._layers)
        memory.keep(output, self._end_rows, self._layers)

    @torch.compiler.disable
    def _plan(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Run], tuple[Any, ...], dict[str, Any]]:
        """What to run for this call, and the arguments of the whole batch."""
        self._check_undisturbed()
        self._clear()  # an interrupt (Ctrl-C) runs no hooks, so an earlier call may have left something
        self.calls += 1
        call = dict(zip(self._parameters, args, strict=False)) | kwargs
        step = self._advance(call)
        sample = call[self._parameters[0]]
        batch = sample.shape[0]
        start = self._find(call, step) if self.needs_frames else None
        if start is not None and self._frames.image_embeds is not None:
            args, kwargs = self._with_image_embeds(args, kwargs, start, batch)
        active = step < self._active_steps and start is not None
        if active:
            self._check_masks(call)
        if self._chunk == "auto":
            self._chunk = self._auto_chunk(args, kwargs, batch, sample.device)
        memory = self._frames.endpoints
        self._end_rows = [] if memory is None else self._finder.end_rows(batch)
        remembered = self._end_rows if memory is not None and memory.filled else []
        key = (batch, start if active else None, sample.device)
        if key not in self._runs:
            plan = self._finder.plan(start, batch, sample.device) if active and start is not None else None
            self._runs[key] = plan_runs(
                batch,
                self.chunk,
                plan,
                self._config,
                self._skips_linear_cross,
                sample.device,
                saves=memory is not None,
                remembered=remembered,
            )
        runs, self._back = self._runs[key]
        if memory is not None and remembered:
            self._outputs = [memory.recall(self.calls - 1, remembered, self._layers, sample.device)]
        return runs, args, kwargs

    def _advance(self, call: dict[str, Any]) -> int:
        if "timestep" not in call:
            raise UnsupportedPipelineError(
                f"{type(self._denoiser).__name__} takes no timestep, so steps cannot be counted"
            )
        before = self._steps.step
        step = self._steps.advance(call["timestep"])
        if step != before and step == 0:
            self._finder.start_run()
            self.found = False
        elif step == 1 and before == 0:
            self.check_found()
        return step

    def _find(self, call: dict[str, Any], step: int) -> int | None:
        embeds = call.get("encoder_hidden_states")
        start = self._finder.find(embeds, first_step=step == 0)
        self.found = self.found or start is not None
        return start

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

    def _check_masks(self, call: dict[str, Any]) -> None:
        """Check every attention mask among the arguments once."""
        nested = [value for value in call.values() if isinstance(value, dict)]
        for name, mask in [item for arguments in [call, *nested] for item in arguments.items()]:
            if not isinstance(mask, Tensor) or not str(name).endswith("attention_mask"):
                continue
            if not any(mask is checked for checked in self._checked_masks):
                check_mask_values(str(name), mask)
                self._checked_masks = [*self._checked_masks[-3:], mask]

    def _with_image_embeds(self, args: tuple[Any, ...], kwargs: dict[str, Any], start: int, batch: int) -> Arguments:
        """The call with the frames' image embeddings in their rows; the caller's dictionaries stay as they are."""
        frames, images = self._frames, self._frames.num_images_per_prompt
        if (start, batch) not in self._placed_images:
            weight = next(self._denoiser.parameters())
            placed = []
            for index, embeds in enumerate(frames.image_embeds or []):
                rows = embeds.repeat_interleave(images, dim=0)
                whole = rows.new_zeros(batch, *rows.shape[1:])
                if frames.negative_image_embeds is not None:
                    whole[:] = frames.negative_image_embeds[index]
                whole[start : start + len(rows)] = rows
                placed.append(whole.to(weight.device, weight.dtype))
            self._placed_images[start, batch] = placed
        placed = self._placed_images[start, batch]
        entries: Any = placed[0] if isinstance(self._denoiser, SD3Transformer2DModel) else placed  # SD3 has one adapter
        for argument, entry in IMAGE_ARGUMENTS:
            if argument in self._parameters:
                place = self._parameters.index(argument)
                if place < len(args):
                    return (*args[:place], (args[place] or {}) | {entry: entries}, *args[place + 1 :]), kwargs
                return args, kwargs | {argument: (kwargs.get(argument) or {}) | {entry: entries}}
        raise UnsupportedPipelineError(
            f"{type(self._denoiser).__name__} takes no image embeddings; leave image_embeds out"
        )

    def _auto_chunk(self, args: tuple[Any, ...], kwargs: dict[str, Any], batch: int, device: torch.device) -> int:
        if device.type != "cuda":
            return auto_chunk(batch, device)
        run = Run(slice(0, 1), 1, Pass(None, self._config, saved_rows=1))

        def run_one() -> None:
            one_args, one_kwargs = self._start(run, args, kwargs)
            self._denoiser.forward(*one_args, **one_kwargs)
            self._finish(run)

        per_row = measure_row(run_one, device)
        endpoints = len(set(self._frames.plan.host_sources[self._frames.plan.host_weights != 0].tolist()))
        reserved = bank.bank_bytes(self._layers) * endpoints * self._frames.num_images_per_prompt
        self._clear()
        return auto_chunk(batch, device, per_row, reserved)

    @torch.compiler.disable
    def _start(self, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """Set the pass of a run; returns its rows of the call's arguments."""
        # a plain run is no different from a call without interpolation, and shares its compiled graph
        self._state.current = run.how if run.how.plan is not None or run.how.saved_rows else None
        batch = (args[0] if args else kwargs[self._parameters[0]]).shape[0]
        if run.count == batch and isinstance(run.rows, slice):
            return args, kwargs
        named = zip(self._parameters, args, strict=False)
        return tuple(take_rows(value, run.rows, batch, name) for name, value in named), take_rows(
            kwargs, run.rows, batch
        )

    @torch.compiler.disable
    def _finish(self, run: Run) -> None:
        self._state.current = None
        if run.how.saved_rows:
            bank.collect(self._layers)

    @torch.compiler.disable
    def _clear(self) -> None:
        self._state.current = None
        self._state.layer = None
        self._outputs = []
        bank.clear(self._layers)

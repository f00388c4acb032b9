"""Lower-level API: puts attention interpolation on a stock pipeline, and takes it off again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from aid_kernels import CallBucket, Explanation

from ..config import AIDConfig
from ..errors import BusyError, ConfigError, RowsError, UnsupportedPipelineError
from ..families import find_denoiser
from .denoiser_hook import DenoiserHook
from .frames import Frames
from .kv_bank import LayerCache
from .layers import attention_layers, head_dim, is_lerp_of_endpoints, is_linear_cross_attention
from .rebinding import has_primitive, has_softmax, rebind
from .report import expected_service, format_report
from .state import DenoiserState

logger = logging.getLogger("aid_pipeline")

PLAIN_CROSS = (
    "inner cross-attention without a guide equals the plain one (keys and values are linear in the text embedding)"
)

NO_SOFTMAX = "linear attention has no softmax to interpolate"


class AIDHandle:
    """Handle of attention interpolation in place on one denoiser; returned by `apply_aid`.

    Attributes:
        denoiser: the module it is on.
        config, frames: as given to `apply_aid`.
    """

    def __init__(self, denoiser: nn.Module, config: AIDConfig, frames: Frames, scheduler: Any = None) -> None:
        self.denoiser = denoiser
        self.config = config
        self.frames = frames
        self.thread = threading.current_thread()
        self._state = DenoiserState.of(denoiser)
        self._modules = attention_layers(denoiser)
        self._layers = {name: LayerCache(name) for name in self._modules}
        self._linear = {name for name, module in self._modules.items() if is_linear_cross_attention(denoiser, module)}
        self._skips_linear = config.mode == "inner" and not frames.has_guide and is_lerp_of_endpoints(frames)
        self._originals = {name: module.processor for name, module in self._modules.items()}
        # all exist before the first is installed: a refusal leaves the denoiser untouched
        self._without_softmax = layers_without_softmax(denoiser, self._originals)
        self._rebound = {
            name: processor
            if name in self._without_softmax
            else rebind(processor, self._state, self._layers[name], name in self._linear, denoiser)
            for name, processor in self._originals.items()
        }
        self._scheduler = scheduler
        if config.active_steps(frames.num_steps) > 0 and not _moves_weights(denoiser):
            for size in set(map(head_dim, self._modules.values())):
                expected_service(denoiser, config, size)  # refuse a named one that cannot serve before the first step
        self._hook: DenoiserHook | None = None
        self._removed = False
        self._cut_short = False

    def report(self) -> str:
        """Which implementation serves each attention layer and why: a summary line, then reasons, then layers.

        Example of a first line: `32 layers: triton 20, sdpa 12`. Before the first step, and of a compiled denoiser, it
        says what is expected by the model's dtype and device; afterwards what was seen.
        """
        if self.config.active_steps(self.frames.num_steps) == 0:
            why = f"mode {self.config.mode!r}, warmup {self.config.warmup:g} of {self.frames.num_steps} steps"
            return format_report([(layer, None, why) for layer in self._layers.values()])
        return format_report(
            [
                (
                    layer,
                    None if layer.served else self._expected(head_dim(self._modules[name])),
                    self._why_plain(name, layer),
                )
                for name, layer in self._layers.items()
            ]
        )

    def _why_plain(self, name: str, layer: LayerCache) -> str | None:
        if name in self._without_softmax:
            return NO_SOFTMAX
        if layer.plain is not None and not layer.served:
            return layer.plain
        return PLAIN_CROSS if self._skips_linear and name in self._linear and not layer.served else None

    def calls(self) -> dict[str, list[CallBucket]]:
        """The kinds of call that were seen, by attention layer; none of a compiled denoiser."""
        return {name: [seen.bucket for seen in layer.served] for name, layer in self._layers.items() if layer.served}

    def _expected(self, size: int | None) -> Explanation | None:
        """None where weights that are elsewhere between calls do not tell."""
        try:
            return expected_service(self.denoiser, self.config, size)
        except ConfigError:
            return None

    @property
    def chunk(self) -> int | None:
        """Rows per run of the denoiser, once the first call has decided what "auto" is; None means no limit."""
        return None if self._hook is None else self._hook.chunk

    def remove(self) -> None:
        """Put the very processors back that were installed before, and free what the sequence kept. Idempotent."""
        if self._removed:
            return
        self._removed = True
        if self._hook is not None:
            self._hook.remove()
        for name, module in self._modules.items():
            if module.processor is self._rebound[name]:
                module.set_processor(self._originals[name])
            elif module.processor is not self._originals[name]:
                logger.warning("layer %s got another processor while AID was on; it is left there", name)
        if self._state.handle is self:
            self._state.handle = None

    def intact(self) -> bool:
        """Whether the rebound processors are still in place."""
        return all(module.processor is self._rebound[name] for name, module in self._modules.items())

    def check_found(self) -> None:
        """Raise RowsError if denoiser calls ran, but none had the frames, or no layer; BusyError if another cut in."""
        if self._cut_short:
            raise BusyError(
                "another sequence was put on this denoiser between the steps of this one, whose later steps were then "
                "not interpolated; make it before or after, or with a pipeline of its own"
            )
        if self._hook is not None:
            self._hook.check_found()
        left = [layer for layer in self._layers.values() if layer.plain is not None]
        if left and not any(layer.served for layer in self._layers.values()):
            raise RowsError(f"nothing was interpolated: layer {left[0].name} was {left[0].plain}")

    def replace(self) -> None:
        """Remove it because another handle takes its place."""
        self._cut_short = self._hook is not None and self._hook.under_way
        self.remove()

    def _install(self) -> None:
        try:
            for name, module in self._modules.items():
                module.set_processor(self._rebound[name])
            self._hook = DenoiserHook(
                self.denoiser,
                list(self._layers.values()),
                self._state,
                self.config,
                self.frames,
                self._skips_linear,
                self._scheduler,
            )
        except BaseException:
            self.remove()
            raise


def apply_aid(pipe_or_denoiser: Any, config: AIDConfig, frames: Frames) -> AIDHandle:
    """Interpolate the attention of the next denoising call of a stock pipeline.

    Args:
        pipe_or_denoiser: a diffusers pipeline with a `unet` or `transformer`, or that module itself (compiled or not).
        config: what to do.
        frames: what the call's rows mean.

    Returns:
        A handle; call `remove()` when the denoising call is over, or use `with aid(...)`. Applying again in the same
        thread replaces: the old handle is removed first. A handle belongs to the thread that made it, and serves one
        denoising call after another.

    Raises:
        UnsupportedPipelineError: no denoiser, no attention layers, a processor without the primitive, PAG.
        ConfigError: an implementation asked for by name that cannot serve this denoiser.
        BusyError: another thread's sequence has this denoiser.
        RowsError: (from the denoising call) the frames are not among its rows, or the unconditional rows look the same.
    """
    denoiser = find_denoiser(pipe_or_denoiser)
    state = DenoiserState.of(denoiser)
    with state.lock:
        if state.handle is not None:
            if state.handle.thread is not threading.current_thread() and state.handle.thread.is_alive():
                raise BusyError(
                    "another thread's sequence uses this denoiser; wait for it, or give every thread its own pipeline"
                )
            state.handle.replace()
        handle = AIDHandle(denoiser, config, frames, getattr(pipe_or_denoiser, "scheduler", None))
        state.handle = handle
        handle._install()
    return handle


@contextmanager
def aid(pipe_or_denoiser: Any, config: AIDConfig, frames: Frames) -> Iterator[AIDHandle]:
    """`apply_aid` for the length of a `with` block; removes on any exit. Arguments, result and errors as there.

    Raises:
        RowsError: also at the end of the block, if denoiser calls ran but none of them had the frames.
        BusyError: also at the end of the block, if another handle was applied between the steps of a call inside it.
    """
    handle = apply_aid(pipe_or_denoiser, config, frames)
    try:
        yield handle
        handle.check_found()
    finally:
        handle.remove()


def layers_without_softmax(denoiser: nn.Module, processors: dict[str, Any]) -> set[str]:
    """Names of the layers whose attention is linear.

    Raises:
        UnsupportedPipelineError: all of them are.
    """
    classes = {type(processor) for processor in processors.values()}
    linear = {cls for cls in classes if not has_primitive(cls, denoiser) and not has_softmax(cls)}
    if linear == classes:
        raise UnsupportedPipelineError(f"no layer of {type(denoiser).__name__} has a softmax: {NO_SOFTMAX}")
    return {name for name, processor in processors.items() if type(processor) in linear}


def _moves_weights(denoiser: nn.Module) -> bool:
    """Whether weights are elsewhere, or of another dtype, between calls: offloading, layerwise casting."""
    hooks = ("_hf_hook", "_diffusers_hook")
    return any(hasattr(module, hook) for module in denoiser.modules() for hook in hooks)

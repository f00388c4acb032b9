"""Stock calls of one sequence: one for all its frames, or several for some at a time between the same endpoints."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from aid_kernels import CallBucket, InterpolationPlan

from ..attention.apply import aid
from ..attention.endpoint_cache import EndpointCache
from ..attention.frames import Frames
from ..conditioning.embeddings import Encoded
from ..conditioning.encoding import ENCODER_TEXTS, REFUSALS
from ..conditioning.latents import FrameNoise, image_of_each_frame
from ..conditioning.prompts import Prompts
from ..conditioning.replay import Replay, check_mode
from ..config import AIDConfig
from ..errors import AIDError, ArgumentError
from ..families import find_denoiser, find_family
from .embedding_handover import stub_embeddings
from .pinned_ends import PinnedEnds
from .prompt_switch import PromptSwitch
from .scheduler_noise import share_noise
from .scheduler_steps import denoiser_steps
from .step_callback import with_frame_rows
from .stock_arguments import stock_parameters
from .stock_call import CallMonitor, Progress, private_copy


@dataclass(frozen=True)
class SampledFrames:
    """Frames of one stock call.

    Attributes:
        images: as the stock call returned them for its `output_type`.
        denoise, decode: seconds.
        report: which implementation served each attention layer.
        calls: the kinds of attention call of each layer, as the operator tells them apart.
        chunk: rows per denoiser call; None means no limit.
        not_finite, flagged: numbers of frames with NaN or infinity, and of those the safety checker blacked out.
    """

    images: Any
    denoise: float
    decode: float
    report: str
    calls: dict[str, list[CallBucket]]
    chunk: int | None
    not_finite: tuple[int, ...]
    flagged: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Denoising:
    """What all stock calls of one sequence have in common.

    Args:
        pipe: the pipeline; every call works on a private copy.
        config: how to interpolate.
        encoded: the prompts' embeddings, or of a family without an entry the prompts, which its own call encodes.
        has_guide: interior frames have a guide's embeddings.
        seeds, latents: of the noise, as `FrameNoise`.
        chunk: rows per denoiser call, or "auto".
        call: arguments of the stock call, without what depends on the frames.
        output_type: "pil", "pt", "np" or "latent".
        pins: real images at the ends, if any.
    """

    pipe: Any
    config: AIDConfig
    encoded: Encoded | Prompts
    has_guide: bool
    seeds: tuple[int, int]
    latents: Tensor | None
    chunk: int | str
    call: dict[str, Any]
    output_type: str
    pins: PinnedEnds | None = None

    def sample(
        self, coefficients: tuple[float, ...], progress: Progress | None = None, cache: EndpointCache | None = None
    ) -> SampledFrames:
        """Sample the frames at these coefficients, both endpoints among them.

        Args:
            coefficients: from 0 to 1.
            progress: called with (steps done, steps in all).
            cache: filled by its first call; later ones do not denoise the endpoints again.

        Raises:
            ArgumentError: what the stock call says of its arguments before its first step.
        """
        run = _SamplingRun(self, coefficients, progress, cache)
        call, monitor = run.arguments(), run.monitor
        try:
            output = run.pipe(**call)
        except REFUSALS as error:
            if monitor.started or isinstance(error, AIDError):
                raise
            raise ArgumentError(f"{type(self.pipe).__name__} refuses the call: {error}") from error
        if self.output_type == "latent":
            monitor.check_finite(output.images)
        if cache is not None:
            cache.filled = True
        black = getattr(output, "nsfw_content_detected", None) or []
        return SampledFrames(
            images=output.images if self.pins is None else self.pins.with_files(output.images, coefficients),
            denoise=monitor.ended - monitor.started,
            decode=time.perf_counter() - monitor.ended,
            report=run.report,
            calls=run.calls,
            chunk=run.chunk,
            not_finite=tuple(sorted(monitor.not_finite)),
            flagged=tuple(index for index, flag in enumerate(black) if flag),
        )


class _SamplingRun:
    """One stock call on a private copy, with interpolation on while its denoising loop runs.

    Attributes:
        pipe: the private copy.
        monitor: of the call.
        report, calls, chunk: of the handle, once the loop is over.
    """

    def __init__(
        self,
        denoising: Denoising,
        coefficients: tuple[float, ...],
        progress: Progress | None,
        cache: EndpointCache | None,
    ) -> None:
        self.pipe = private_copy(denoising.pipe)
        self.report = ""
        self.calls: dict[str, list[CallBucket]] = {}
        self.chunk: int | None = None
        self._denoising, self._coefficients, self._cache = denoising, coefficients, cache
        self._family = find_family(denoising.pipe)
        self._noise = FrameNoise(coefficients, denoising.seeds, denoising.latents)
        self._noise.install(self.pipe)
        if denoising.pins is not None:
            self.pipe.scheduler = copy.deepcopy(denoising.pins.scheduler)
        if getattr(self.pipe, "scheduler", None) is not None:
            share_noise(self.pipe.scheduler, len(coefficients), denoising.seeds[0])
        if denoising.pins is not None:
            denoising.pins.install(self.pipe, coefficients)
        self.monitor = CallMonitor(self._interpolating, progress)
        self.monitor.install(self.pipe, denoising.pipe)
        self._switch = None
        self._replay = None
        if isinstance(denoising.encoded, Prompts):
            check_mode(denoising.pipe, denoising.config.mode)
            self._replay = Replay(denoising.encoded, coefficients)
            self._replay.install(self.pipe)
        elif denoising.config.mode == "denoising":
            self._switch = PromptSwitch(denoising.encoded, coefficients, self._family, lambda: self.monitor.steps_done)

    def arguments(self) -> dict[str, Any]:
        """Arguments of the stock call for these frames."""
        of, stock = self._denoising, self._denoising.pipe
        call = {name: value for name, value in of.call.items() if name not in ENCODER_TEXTS}
        if self._replay is not None:
            call = {name: value for name, value in of.call.items() if name in stock_parameters(stock)}
            call |= self._replay.arguments()
        else:
            call |= stub_embeddings(self.pipe, self._family, self._embeddings)
        call |= {"generator": self._noise.generators(), "output_type": of.output_type}
        if call.get("image") is not None and not self._noise.starts_from_noise(stock):
            call["image"] = image_of_each_frame(call["image"], len(self._coefficients))
        if self._replay is None and "negative_prompt" in stock_parameters(self.pipe):
            call["negative_prompt"] = None  # PixArt's default, "", contradicts given embeddings
        return with_frame_rows(call, len(self._coefficients), fixed_prompts=self._switch is not None)

    def _embeddings(self) -> dict[str, Tensor]:
        """Every frame's, by the stock call's argument names."""
        assert isinstance(self._denoising.encoded, Encoded)
        lerped = self._denoising.encoded.arguments_for(self._coefficients)
        return lerped if self._switch is None else self._switch.arguments_for(lerped)

    def _rows(self) -> Tensor:
        """The frames' rows of the embeddings that tell them in a denoiser call."""
        if self._replay is not None:
            return self._replay.rows()
        assert isinstance(self._denoising.encoded, Encoded)
        return self._denoising.encoded.rows_for("prompt_embeds", self._coefficients)

    @contextmanager
    def _interpolating(self, steps: int) -> Iterator[None]:
        """Interpolation for the length of a loop of `steps` steps."""
        of = self._denoising
        frames = Frames(
            InterpolationPlan.sequence(self._coefficients, device=self._rows().device),
            self._rows,  # the stock call has them already
            denoiser_steps(self.pipe, steps),
            chunk=of.chunk,
            has_guide=of.has_guide,
            endpoints=self._cache,
        )
        with ExitStack() as stack:
            if self._switch is not None:  # before the hook that splits the batch into chunks
                controlnet = getattr(self.pipe, "controlnet", None)
                modules = [find_denoiser(self.pipe), *([controlnet] if isinstance(controlnet, nn.Module) else [])]
                stack.enter_context(self._switch.installed(modules, steps))
            handle = stack.enter_context(aid(self.pipe, of.config, frames))
            yield
            self.report = handle.report()
            self.calls = handle.calls()
            self.chunk = handle.chunk

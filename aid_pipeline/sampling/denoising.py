"""Stock calls of one sequence: one for all its frames, or several for some at a time between the same endpoints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from aid_kernels import CallBucket, InterpolationPlan

from ..attention.apply import aid
from ..attention.endpoint_cache import EndpointCache
from ..attention.frames import Frames
from ..conditioning.latents import FrameNoise, image_of_each_frame
from ..conditioning.prompts import Prompts
from ..conditioning.replay import REFUSALS, Encodings, Replay
from ..config import AIDConfig
from ..errors import AIDError, ArgumentError, UnsupportedPipelineError
from ..families import find_denoiser, generates_clips
from .clip_decoding import decode_each_clip
from .clip_inputs import for_each_frame, visual_inputs
from .frame_inputs import image_for_each_frame, image_inputs
from .outputs import frames_of
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
        prompts: which each call encodes by its own encoder, replayed.
        encodings: what the encoder returned for them.
        seeds, latents: of the noise, as `FrameNoise`.
        chunk: rows per denoiser call, or "auto".
        call: arguments of the stock call, without what depends on the frames.
        output_type: "pil", "pt", "np" or "latent".
    """

    pipe: Any
    config: AIDConfig
    prompts: Prompts
    encodings: Encodings
    seeds: tuple[int, int]
    latents: Tensor | None
    chunk: int | str
    call: dict[str, Any]
    output_type: str

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
        run, output = self._call(coefficients, progress, cache)
        images, monitor = frames_of(output), run.monitor
        if not monitor.started:
            raise UnsupportedPipelineError(
                f"{type(self.pipe).__name__} opens no progress bar of its own, by which its denoising loop is known, "
                "so nothing was interpolated; use `with aid(...)` around its call"
            )
        if self.output_type == "latent":
            monitor.check_finite(images)
        if cache is not None:
            cache.filled = True
        black = getattr(output, "nsfw_content_detected", None) or []
        return SampledFrames(
            images=images,
            denoise=monitor.ended - monitor.started,
            decode=time.perf_counter() - monitor.ended,
            report=run.report,
            calls=run.calls,
            chunk=run.chunk,
            not_finite=tuple(sorted(monitor.not_finite)),
            flagged=tuple(index for index, flag in enumerate(black) if flag),
        )

    def _call(
        self, coefficients: tuple[float, ...], progress: Progress | None, cache: EndpointCache | None
    ) -> tuple[_SamplingRun, Any]:
        """The stock call; images and clips beside its prompts are one for all frames, or one for each.

        An image goes to all first. A video pipeline gets one for each first, since some take one without a word and
        give it to the first prompt alone.

        Raises:
            ArgumentError: it refuses its arguments before the first step, or such inputs in both forms.
        """
        kind, clips, m = type(self.pipe).__name__, generates_clips(self.pipe), len(coefficients)
        names = visual_inputs(self.call) if clips else image_inputs(self.call)
        repeat, forms = (for_each_frame, ("each", "all")) if clips else (image_for_each_frame, ("all", "each"))
        refusals: list[Exception] = []
        for form in forms if names else ("all",):
            inputs = repeat(self.call, m) if form == "each" else {}
            if refusals and cache is not None:
                cache.clear()
            run = _SamplingRun(replace(self, call=self.call | inputs), coefficients, progress, cache)
            try:
                return run, run.pipe(**run.arguments())
            except (*REFUSALS, RuntimeError) as error:
                ours = isinstance(error, AIDError)
                if (ours and (refusals or not (clips and names))) or not _may_be_arguments(error, run.monitor, bool(names)):
                    raise
                refusals.append(error)
        reasons = "; ".join(dict.fromkeys(map(str, refusals)))
        tried = f", with {', '.join(names)} once for all frames and once for each" if names else ""
        raise ArgumentError(f"{kind} refuses the call{tried}: {reasons}") from refusals[-1]


def _may_be_arguments(error: Exception, monitor: CallMonitor, images: bool) -> bool:
    """Whether the stock call may have failed because of its arguments; shapes of images show in the first step."""
    if isinstance(error, torch.OutOfMemoryError):
        return False
    if images:
        return monitor.steps_done == 0
    return isinstance(error, REFUSALS) and not monitor.started


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
        self._noise = FrameNoise(coefficients, denoising.seeds, denoising.latents)
        self._noise.install(self.pipe)
        if generates_clips(denoising.pipe):
            # a pipeline with a clip among its inputs may put a decoded one beside it, so that stays where it is
            to_cpu = denoising.output_type in ("pil", "np") and not visual_inputs(denoising.call)
            decode_each_clip(self.pipe, denoising.pipe, to_cpu)
        if getattr(self.pipe, "scheduler", None) is not None:
            share_noise(self.pipe.scheduler, len(coefficients), denoising.seeds[0])
        self.monitor = CallMonitor(self._interpolating, progress)
        self.monitor.install(self.pipe, denoising.pipe)
        switches = denoising.config.mode == "denoising"
        self._replay = Replay(denoising.prompts, coefficients, denoising.call, denoising.encodings, switches)
        self._replay.install(self.pipe)
        self._switch = PromptSwitch(self._replay, coefficients, lambda: self.monitor.steps_done) if switches else None

    def arguments(self) -> dict[str, Any]:
        """Arguments of the stock call for these frames."""
        of, stock = self._denoising, self._denoising.pipe
        call = {name: value for name, value in of.call.items() if name in stock_parameters(stock)}
        call |= self._replay.arguments()
        call |= {"generator": self._noise.generators(), "output_type": of.output_type}
        clips = generates_clips(stock)  # whose images and clips are `_call`'s
        if not clips and call.get("image") is not None and not self._noise.starts_from_noise(stock):
            call["image"] = image_of_each_frame(call["image"], len(self._coefficients))
        return with_frame_rows(call, len(self._coefficients), fixed_prompts=self._switch is not None)

    @contextmanager
    def _interpolating(self, steps: int) -> Iterator[None]:
        """Interpolation for the length of a loop of `steps` steps."""
        of = self._denoising
        frames = Frames(
            InterpolationPlan.sequence(self._coefficients, device=self._replay.embeddings()[0].device),
            self._replay.embeddings,  # the stock call has them already
            denoiser_steps(self.pipe, steps),
            chunk=of.chunk,
            has_guide=of.prompts.guides is not None,
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

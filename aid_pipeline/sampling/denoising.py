"""Stock calls of one sequence: one for all its frames, or several for some at a time between the same endpoints."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
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
from ..conditioning.replay import Encodings, Replay
from ..config import AIDConfig
from ..errors import UnsupportedPipelineError
from ..families import find_denoiser, generates_clips, is_combined
from .calling import call_stock, equal_noise
from .clip_decoding import decode_each_clip
from .clip_inputs import visual_inputs
from .outputs import frames_of, images_of
from .pinned_ends import PinnedEnds
from .prompt_switch import PromptSwitch
from .scheduler_noise import share_noise
from .scheduler_steps import denoiser_steps
from .step_callback import with_frame_rows
from .stock_arguments import stock_parameters
from .stock_call import CallMonitor, Progress, private_copy
from .sub_pipelines import Prior, check_combined, combined_copy, joined_calls, vectors_of


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
        pins: real images at the ends, if any.
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

        def make_run(inputs: Mapping[str, Any]) -> _SamplingRun | _CombinedRun:
            if cache is not None and not cache.filled:
                cache.clear()  # of a form of the inputs that the pipeline did not take
            made = _CombinedRun if is_combined(self.pipe) else _SamplingRun
            return made(replace(self, call=self.call | dict(inputs)), coefficients, progress, cache)

        run, output = call_stock(make_run, self.pipe, self.call, len(coefficients), self.output_type)
        images, monitor = frames_of(output), run.monitor
        if not monitor.started:
            raise UnsupportedPipelineError(
                f"{type(self.pipe).__name__} opens no progress bar of its own, by which its denoising loop is known, "
                "so nothing was interpolated; use `with aid(...)` around its call"
            )
        if run.returns_arrays:
            monitor.check_finite(torch.from_numpy(images))
            images = images_of(images, self.output_type)
        elif self.output_type == "latent":
            monitor.check_finite(images)
        if cache is not None:
            cache.filled = True
        black = getattr(output, "nsfw_content_detected", None) or []
        return SampledFrames(
            images=images if self.pins is None else self.pins.with_files(images, coefficients),
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

    Args:
        rows: what tells the frames' rows in a denoiser call; None means the prompts' embeddings.
    """

    returns_arrays = False

    def __init__(
        self,
        denoising: Denoising,
        coefficients: tuple[float, ...],
        progress: Progress | None,
        cache: EndpointCache | None,
        rows: Callable[[], Tensor] | None = None,
    ) -> None:
        self.pipe = private_copy(denoising.pipe)
        self.report = ""
        self.calls: dict[str, list[CallBucket]] = {}
        self.chunk: int | None = None
        self._denoising, self._coefficients, self._cache, self._rows = denoising, coefficients, cache, rows
        self._noise = FrameNoise(coefficients, denoising.seeds, denoising.latents)
        self._noise.install(self.pipe)
        self._generators: list[torch.Generator] = []
        if generates_clips(denoising.pipe):
            # a pipeline with a clip among its inputs may put a decoded one beside it, so that stays where it is
            to_cpu = denoising.output_type in ("pil", "np") and not visual_inputs(denoising.call)
            decode_each_clip(self.pipe, denoising.pipe, to_cpu)
        if denoising.pins is not None:
            self.pipe.scheduler = copy.deepcopy(denoising.pins.scheduler)
        if getattr(self.pipe, "scheduler", None) is not None:
            share_noise(self.pipe.scheduler, len(coefficients), denoising.seeds[0])
        if denoising.pins is not None:
            denoising.pins.install(self.pipe, coefficients)
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
        call |= self.shared_arguments() | {"output_type": of.output_type}
        clips = generates_clips(stock)  # whose images and clips are `_call_with_inputs`'s
        if not clips and call.get("image") is not None and not self._noise.starts_from_noise(stock):
            call["image"] = image_of_each_frame(call["image"], len(self._coefficients))
        return with_frame_rows(call, len(self._coefficients), fixed_prompts=self._switch is not None)

    def shared_arguments(self) -> dict[str, Any]:
        """Every frame's text and generator."""
        self._generators = self._noise.generators()
        return {**self._replay.arguments(), "generator": self._generators}

    @contextmanager
    def _interpolating(self, steps: int) -> Iterator[None]:
        """Interpolation for the length of a loop of `steps` steps."""
        of, rows = self._denoising, self._rows or self._replay.embeddings
        frames = Frames(
            InterpolationPlan.sequence(self._coefficients, device=rows()[0].device),
            rows,  # the stock call has them already
            denoiser_steps(self.pipe, steps),
            chunk=of.chunk,
            has_guide=of.prompts.guides is not None,
            endpoints=self._cache,
        )
        alike = of.latents is None and of.seeds[0] == of.seeds[1]
        with ExitStack() as stack:
            stack.enter_context(equal_noise(self.pipe, find_denoiser(self.pipe), self._generators, alike))
            if self._switch is not None:  # before the hook that splits the batch into chunks
                controlnet = getattr(self.pipe, "controlnet", None)
                modules = [find_denoiser(self.pipe), *([controlnet] if isinstance(controlnet, nn.Module) else [])]
                stack.enter_context(self._switch.installed(modules, steps))
            handle = stack.enter_context(aid(self.pipe, of.config, frames))
            yield
            self.report = handle.report()
            self.calls = handle.calls()
            self.chunk = handle.chunk


class _CombinedRun:
    """One stock call of a prior and a decoder, as `_SamplingRun`; see `sub_pipelines.py`."""

    def __init__(
        self,
        denoising: Denoising,
        coefficients: tuple[float, ...],
        progress: Progress | None,
        cache: EndpointCache | None,
    ) -> None:
        check_combined(denoising)
        pipe, self._frames = denoising.pipe, len(coefficients)
        self._denoising = denoising
        self._prior: _SamplingRun | None = None
        call = vectors_of(pipe.prior_pipe, coefficients, denoising.prompts.guides is not None)
        if call is None:
            of_prior = replace(denoising, pipe=pipe.prior_pipe, encodings=Encodings())  # its text encoder is another
            self._prior = _SamplingRun(of_prior, coefficients, None, None)
            call = self._prior.pipe
        prior = Prior(call)
        self._decoder = _SamplingRun(
            replace(denoising, pipe=pipe.decoder_pipe), coefficients, progress, cache, prior.rows
        )
        self.pipe, self.monitor = combined_copy(pipe, prior, self._decoder.pipe), self._decoder.monitor
        self.returns_arrays = denoising.output_type != "latent"

    def arguments(self) -> dict[str, Any]:
        """Arguments of the stock call for these frames."""
        of = self._denoising
        call = {name: value for name, value in of.call.items() if name in stock_parameters(of.pipe)}
        call |= self._decoder.shared_arguments()
        for name in ("image", "mask_image"):
            if call.get(name) is not None:
                call[name] = image_of_each_frame(call[name], self._frames)
        call["output_type"] = "np" if self.returns_arrays else "latent"  # what a decoder calls "pt" may be in [-1, 1]
        return with_frame_rows(call, self._frames, fixed_prompts=False)

    @property
    def report(self) -> str:
        """Of both parts' layers."""
        prior = [] if self._prior is None else ["prior_pipe:", *self._prior.report.splitlines()]
        return "\n".join([self._decoder.report, *prior])

    @property
    def calls(self) -> dict[str, list[CallBucket]]:
        """Of both parts' layers."""
        return joined_calls({} if self._prior is None else self._prior.calls, self._decoder.calls)

    @property
    def chunk(self) -> int | None:
        """Of the decoder."""
        return self._decoder.chunk

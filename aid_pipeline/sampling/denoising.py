"""The stock calls of one sequence: one for all its frames, or several for some at a time between the same two ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from aid_kernels import InterpolationPlan

from ..attention.apply import aid, find_denoiser
from ..attention.endpoint_cache import EndpointMemory
from ..attention.frames import Frames
from ..conditioning.embeddings import ENCODER_TEXTS, Encoded, text_family
from ..conditioning.latents import FrameNoise, image_of_each_frame
from ..config import AIDConfig
from ..errors import AIDError, ArgumentError
from .embedding_handover import hand_over
from .prompt_switch import PromptSwitch
from .stock_arguments import stock_parameters
from .stock_call import Progress, Watch, denoiser_steps, private_copy


@dataclass(frozen=True)
class Made:
    """Frames of one stock call.

    Attributes:
        images: as the stock call returned them for its `output_type`.
        denoise, decode: seconds.
        report: which implementation served each attention layer.
        chunk: rows per denoiser call; None: the batch as it comes.
        not_finite, flagged: numbers of frames with NaN or infinity, and of those the safety checker blacked out.
    """

    images: Any
    denoise: float
    decode: float
    report: str
    chunk: int | None
    not_finite: tuple[int, ...]
    flagged: tuple[int, ...]


@dataclass(frozen=True)
class Denoising:
    """Everything that is the same for all stock calls of one sequence.

    Args:
        pipe: the pipeline; every call works on a private copy.
        config: how to interpolate.
        encoded: the prompts.
        has_guide: interior frames have a guide's embeddings.
        seeds, latents: of the noise, as `FrameNoise`.
        chunk: rows per denoiser call, or "auto".
        call: arguments of the stock call, without what depends on the frames.
        output_type: "pil", "pt", "np" or "latent".
    """

    pipe: Any
    config: AIDConfig
    encoded: Encoded
    has_guide: bool
    seeds: tuple[int, int]
    latents: Tensor | None
    chunk: int | str
    call: dict[str, Any]
    output_type: str

    def frames(
        self, coefficients: tuple[float, ...], progress: Progress | None = None, memory: EndpointMemory | None = None
    ) -> Made:
        """Make the frames at these coefficients, both ends among them.

        Args:
            coefficients: from 0 to 1.
            progress: called with (steps done, steps in all).
            memory: filled by its first call; later ones do not denoise the ends again.

        Raises:
            ArgumentError: what the stock call says of its arguments before its first step.
        """
        own = private_copy(self.pipe)
        noise = FrameNoise(coefficients, self.seeds, self.latents)
        noise.install(own)
        run = _Run(self, own, coefficients, progress, memory)
        if self.config.mode == "denoising":
            run.switch = PromptSwitch(self.encoded, coefficients, lambda: run.watch.steps_done)
        call = {name: value for name, value in self.call.items() if name not in ENCODER_TEXTS}
        call |= hand_over(own, text_family(self.pipe), run.embeddings)
        call |= {"generator": noise.generators(), "output_type": self.output_type}
        if call.get("image") is not None and not noise.starts_from_noise(self.pipe):
            call["image"] = image_of_each_frame(call["image"], len(coefficients))
        if "negative_prompt" in stock_parameters(own):
            call["negative_prompt"] = None  # PixArt's default, "", contradicts given embeddings
        try:
            output = own(**call)
        except (ValueError, TypeError) as error:
            if run.watch.started or isinstance(error, AIDError):
                raise
            raise ArgumentError(f"{type(self.pipe).__name__} refuses the call: {error}") from error
        if self.output_type == "latent":
            run.watch.look(output.images)
        if memory is not None:
            memory.filled = True
        watch = run.watch
        black = getattr(output, "nsfw_content_detected", None) or []
        return Made(
            images=output.images,
            denoise=watch.ended - watch.started,
            decode=time.perf_counter() - watch.ended,
            report=run.report,
            chunk=run.chunk_used,
            not_finite=tuple(sorted(watch.not_finite)),
            flagged=tuple(index for index, flag in enumerate(black) if flag),
        )


class _Run:
    """Interpolation around the denoising loop of one stock call: on when the loop starts, off when it ends."""

    def __init__(
        self,
        denoising: Denoising,
        pipe: Any,
        coefficients: tuple[float, ...],
        progress: Progress | None,
        memory: EndpointMemory | None,
    ) -> None:
        self.watch = Watch(self._denoising, progress)
        self.watch.install(pipe)
        self.switch: PromptSwitch | None = None
        self.report = ""
        self.chunk_used: int | None = None
        self._of, self._pipe, self._memory, self._coefficients = denoising, pipe, memory, coefficients

    def embeddings(self) -> dict[str, Tensor]:
        """Every frame's, by the stock call's argument names."""
        lerped = self._of.encoded.frames(self._coefficients)
        return lerped if self.switch is None else self.switch.frames(lerped)

    @contextmanager
    def _denoising(self, steps: int) -> Iterator[None]:
        encoded, coefficients = self._of.encoded, self._coefficients
        frames = Frames(
            InterpolationPlan.sequence(coefficients, device=encoded.first["prompt_embeds"].device),
            lambda: encoded.rows("prompt_embeds", coefficients),  # the stock call has them already
            denoiser_steps(self._pipe, steps),
            chunk=self._of.chunk,
            guided=self._of.has_guide,
            endpoints=self._memory,
        )
        with ExitStack() as stack:
            if self.switch is not None:  # before the hook that cuts the batch into chunks
                controlnet = getattr(self._pipe, "controlnet", None)
                modules = [find_denoiser(self._pipe), *([controlnet] if isinstance(controlnet, nn.Module) else [])]
                stack.enter_context(self.switch.installed(modules, steps))
            handle = stack.enter_context(aid(self._pipe, self._of.config, frames))
            yield
            self.report = handle.report()
            self.chunk_used = handle.chunk

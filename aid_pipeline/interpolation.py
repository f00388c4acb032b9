"""From two prompts to the frames between them, on any stock diffusers pipeline, in one batched pass."""

from __future__ import annotations

import inspect
import threading
import time
import warnings
import weakref
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as SequenceOf
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

from torch import Tensor, nn

from aid_kernels import InterpolationPlan

from .apply import aid, find_denoiser
from .coefficients import BetaPrior, check_frames, frame_coefficients
from .config import AIDConfig
from .embeddings import ENCODER_TEXTS, check_guidance, encode_prompts, text_family
from .errors import BusyError, ConfigError, FrameWarning, PromptError
from .frames import Frames
from .latents import FrameNoise, check_latents, check_seed, image_of_each_frame
from .prompt_switch import PromptSwitch
from .prompts import check_prompts
from .recipe import LATENTS_FILE, settings
from .sequence import Sequence
from .stock_arguments import (
    check_image_prompts,
    check_numbers,
    check_size,
    check_stock_arguments,
    stock_parameters,
)
from .stock_call import Progress, Watch, denoiser_steps, private_copy


def interpolate(
    pipe: Any,
    prompt_a: str,
    prompt_b: str,
    frames: int = 7,
    config: AIDConfig | None = None,
    guide: str | SequenceOf[str] | None = None,
    coefficients: BetaPrior | Iterable[float] | None = None,
    latents: Tensor | None = None,
    seed: int | tuple[int, int] = 0,
    chunk: int | Literal["auto"] = "auto",
    num_inference_steps: int = 25,
    guidance_scale: float = 5.0,
    negative_prompt: str | tuple[str, str] | None = None,
    height: int | None = None,
    width: int | None = None,
    output_type: str = "pil",
    *,
    progress: Progress | None = None,
    **stock: Any,
) -> Sequence:
    """Frames from `prompt_a` to `prompt_b`, by attention interpolation (arXiv 2403.17924, sections 3 to 6).

    The pipeline is a stock one and comes back as it was; its scheduler is copied. The first and the last frame are what
    the pipeline alone makes of their prompt and seed.

    Args:
        pipe: a pipeline of a supported family (Stable Diffusion 1.x, 2.x, XL, 3.x, FLUX.1, PixArt).
        prompt_a, prompt_b: what the first and the last frame show.
        frames: m >= 2, both ends included.
        config: how to interpolate; default `AIDConfig()`.
        guide: text of the frames between the ends (PAID): one prompt, or one per interior frame.
        coefficients: t of each frame: None for uniform, a `BetaPrior`, or m numbers from 0 to 1.
        latents: unscaled noise: the two ends (2, C, h, w), slerped whole, or every frame (m, C, h, w).
        seed: one number for the same noise at both ends, or a pair. Schedulers that add noise draw from the first.
        chunk: rows per denoiser call; any value gives the same frames, smaller ones need less memory.
        negative_prompt: one text, or one per end, whose embeddings are then lerped.
        output_type: "pil", "pt", "np" or "latent".
        progress: called with (steps done, steps in all).
        stock: anything else the stock call takes (`image`, `strength`, `cross_attention_kwargs`, ...).

    Returns:
        A `Sequence`.

    Raises:
        AIDError: its subclasses name what is wrong, before any denoising: `ArgumentError`, `CoefficientsError`,
            `ConfigError`, `LatentsError`, `PromptError`, `UnsupportedPipelineError`; `BusyError` if the
            denoiser already serves another sequence in another thread.
    """
    began = time.perf_counter()
    config = AIDConfig() if config is None else config
    if not isinstance(config, AIDConfig):
        raise ConfigError(f"config must be an AIDConfig, got {config!r}; for example AIDConfig(mode='outer')")
    check_numbers(num_inference_steps, guidance_scale, output_type, chunk)
    t = frame_coefficients(coefficients, check_frames(frames))
    prompts = check_prompts(prompt_a, prompt_b, guide, negative_prompt, frames)
    noise = FrameNoise(t, check_seed(seed), check_latents(latents, frames))
    family = text_family(pipe)
    check_stock_arguments(pipe, stock, list(inspect.signature(interpolate).parameters))
    binned = "use_resolution_binning" in stock_parameters(pipe) and stock.get("use_resolution_binning", True)
    check_size(pipe, height, width, binned)
    guidance = {"guidance_scale": guidance_scale, **stock}
    guided = check_guidance(pipe, family, guidance, negative_prompt is not None)
    check_image_prompts(pipe, stock, 2 if guided and family.encodes_negative else 1)
    if config.mode == "denoising" and guide is not None:
        raise PromptError('mode="denoising" changes from one prompt to the other and reads no guide; leave it out')

    with _alone(find_denoiser(pipe)):
        own = private_copy(pipe)
        noise.install(own)
        encoded = encode_prompts(own, family, prompts, guided, stock)
        embeddings = encoded.frames(t)
        run = _Run(own, config, t, embeddings, chunk, guide is not None, progress)
        if config.mode == "denoising":
            run.switch = PromptSwitch(encoded, t, lambda: run.watch.steps_done)
            embeddings = run.switch.frames(embeddings)
        call = {name: value for name, value in stock.items() if name not in ENCODER_TEXTS} | embeddings
        call |= {
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            "output_type": output_type,
        }
        call |= {name: size for name, size in (("height", height), ("width", width)) if size is not None}
        call["generator"] = noise.generators()
        if call.get("image") is not None and not noise.starts_from_noise(pipe):
            call["image"] = image_of_each_frame(call["image"], frames)
        if "negative_prompt" in stock_parameters(own):
            call["negative_prompt"] = None  # PixArt's default, "", contradicts given embeddings
        called = time.perf_counter()
        output = own(**call)
        if output_type == "latent":
            run.watch.look(output.images)
    ended = time.perf_counter()
    watch = run.watch

    asked = {
        "prompt_a": prompt_a,
        "prompt_b": prompt_b,
        "frames": frames,
        "guide": guide,
        "coefficients": coefficients if coefficients is None or isinstance(coefficients, BetaPrior) else t,
        "latents": None if latents is None else LATENTS_FILE,
        "seed": seed,
        "chunk": chunk,
        "num_inference_steps": num_inference_steps,
        "guidance_scale": guidance_scale,
        "negative_prompt": negative_prompt,
        "height": height,
        "width": width,
        "output_type": output_type,
    }
    flagged = getattr(output, "nsfw_content_detected", None) or []
    sequence = Sequence(
        images=output.images,
        coefficients=t,
        settings=settings(pipe, asked | stock, config, run.chunk_used),
        timings={
            "encode": called - began,
            "denoise": watch.ended - watch.started,
            "decode": ended - watch.ended,
            "total": ended - began,
        },
        report=run.report,
        not_finite=tuple(sorted(watch.not_finite)),
        flagged=tuple(index for index, black in enumerate(flagged) if black),
        latents=latents,
    )
    for fault in sequence.faults:
        warnings.warn(fault, FrameWarning, stacklevel=2)
    return sequence


class _Run:
    """Interpolation around the denoising loop of one stock call: on when the loop starts, off when it ends."""

    def __init__(
        self,
        pipe: Any,
        config: AIDConfig,
        coefficients: tuple[float, ...],
        embeddings: dict[str, Tensor],
        chunk: int | Literal["auto"],
        guided: bool,
        progress: Progress | None,
    ) -> None:
        self.watch = Watch(self._denoising, progress)
        self.watch.install(pipe)
        self.switch: PromptSwitch | None = None
        self.report = ""
        self.chunk_used: int | None = None
        self._pipe, self._config, self._chunk, self._guided = pipe, config, chunk, guided
        embeds = embeddings["prompt_embeds"]
        self._plan, self._embeds = InterpolationPlan.sequence(coefficients, device=embeds.device), embeds

    @contextmanager
    def _denoising(self, steps: int) -> Iterator[None]:
        frames = Frames(
            self._plan,
            self._embeds,
            denoiser_steps(self._pipe.scheduler, steps),
            chunk=self._chunk,
            guided=self._guided,
        )
        with ExitStack() as stack:
            if self.switch is not None:  # before the hook that cuts the batch into chunks
                controlnet = getattr(self._pipe, "controlnet", None)
                modules = [find_denoiser(self._pipe), *([controlnet] if isinstance(controlnet, nn.Module) else [])]
                stack.enter_context(self.switch.installed(modules, steps))
            handle = stack.enter_context(aid(self._pipe, self._config, frames))
            yield
            self.report = handle.report()
            self.chunk_used = handle.chunk


_running: weakref.WeakSet[nn.Module] = weakref.WeakSet()
_running_lock = threading.Lock()


@contextmanager
def _alone(denoiser: nn.Module) -> Iterator[None]:
    """One sequence at a time on a denoiser: its attention is ours meanwhile; tokenizers are not thread-safe."""
    with _running_lock:
        if denoiser in _running:
            raise BusyError(
                "this pipeline already makes a sequence in another thread; wait for it or load a second pipeline"
            )
        _running.add(denoiser)
    try:
        yield
    finally:
        with _running_lock:
            _running.discard(denoiser)

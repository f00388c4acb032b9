"""From two prompts to the frames between them, on any stock diffusers pipeline, in one batched pass."""

from __future__ import annotations

import inspect
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as SequenceOf
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aid_kernels import InterpolationPlan

from .apply import aid, find_denoiser
from .coefficients import BetaPrior, check_frames, frame_coefficients
from .config import AIDConfig
from .embeddings import ENCODER_TEXTS, check_guidance, frame_embeddings, text_family
from .errors import ArgumentError, BusyError
from .frames import Frames
from .latents import FrameNoise, check_latents, check_seed
from .prompts import check_prompts
from .recipe import machine, model_identity, recorded_arguments, versions
from .sequence import Sequence
from .stock_arguments import check_numbers, check_size, check_stock_arguments, stock_parameters
from .stock_call import Progress, Watch, private_copy


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
        stock: anything else the stock call takes (`image`, `strength`, `guidance_rescale`, `cross_attention_kwargs`, ...).

    Returns:
        A `Sequence`.

    Raises:
        AIDError: its subclasses name what is wrong, before any denoising: `ArgumentError`, `CoefficientsError`,
            `ConfigError`, `LatentsError`, `PromptError`, `UnsupportedPipelineError`; `BusyError` if the denoiser already
            serves another sequence in another thread.
    """
    began = time.perf_counter()
    config = AIDConfig() if config is None else config
    check_numbers(num_inference_steps, guidance_scale, output_type, chunk)
    t = frame_coefficients(coefficients, check_frames(frames))
    prompts = check_prompts(prompt_a, prompt_b, guide, negative_prompt, frames)
    noise = FrameNoise(t, check_seed(seed), check_latents(latents, frames))
    family = text_family(pipe)
    check_stock_arguments(pipe, stock, list(inspect.signature(interpolate).parameters))
    binned = "use_resolution_binning" in stock_parameters(pipe) and stock.get("use_resolution_binning", True)
    check_size(pipe, height, width, binned)
    if isinstance(progress, nn.Module) or not (progress is None or callable(progress)):
        raise ArgumentError(f"progress must be a function of (done, total), got {progress!r}")
    guided = check_guidance(pipe, family, {"guidance_scale": guidance_scale, **stock}, negative_prompt is not None)

    with _alone(find_denoiser(pipe)):
        own = private_copy(pipe)
        noise.install(own)
        embeddings = frame_embeddings(own, family, prompts, t, guided, stock)
        rows = chunk if chunk != "auto" else None
        reports: list[str] = []

        @contextmanager
        def denoising(steps: int) -> Iterator[None]:
            device = embeddings["prompt_embeds"].device
            plan = InterpolationPlan.sequence(t, device=device)
            meaning = Frames(plan, embeddings["prompt_embeds"], steps, chunk=rows, guided=guide is not None)
            with aid(pipe, config, meaning) as handle:
                yield
                reports.append(handle.report())

        watch = Watch(denoising, progress)
        watch.install(own)
        call = {
            **{name: value for name, value in stock.items() if name not in ENCODER_TEXTS},
            **embeddings,
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            "output_type": output_type,
            "generator": noise.generators(),
        }
        call |= {name: size for name, size in (("height", height), ("width", width)) if size is not None}
        if "negative_prompt" in stock_parameters(own):
            call["negative_prompt"] = None  # PixArt's default, "", contradicts given embeddings
        encoded = time.perf_counter()
        output = own(**call)
    if output_type == "latent":
        watch.look(output.images)
    ended = time.perf_counter()

    asked = {
        "prompt_a": prompt_a,
        "prompt_b": prompt_b,
        "frames": frames,
        "guide": guide,
        "coefficients": coefficients if coefficients is None or isinstance(coefficients, BetaPrior) else t,
        "latents": None if latents is None else "latents.safetensors",
        "seed": seed,
        "chunk": chunk,
        "num_inference_steps": num_inference_steps,
        "guidance_scale": guidance_scale,
        "negative_prompt": negative_prompt,
        "height": height,
        "width": width,
        "output_type": output_type,
        **stock,
    }
    arguments, unrecorded = recorded_arguments(asked)
    flagged = getattr(output, "nsfw_content_detected", None) or []
    return Sequence(
        images=output.images,
        coefficients=t,
        settings={
            "model": model_identity(pipe),
            "versions": versions(),
            "machine": machine(pipe.device),
            "arguments": arguments,
            "unrecorded": unrecorded,
            "config": asdict(config),
        },
        timings={
            "encode": encoded - began,
            "denoise": watch.ended - watch.started,
            "decode": ended - watch.ended,
            "total": ended - began,
        },
        report="\n".join(reports),
        not_finite=tuple(sorted(watch.not_finite)),
        flagged=tuple(index for index, black in enumerate(flagged) if black),
        latents=latents,
    )


_running: weakref.WeakSet[nn.Module] = weakref.WeakSet()
_running_lock = threading.Lock()


@contextmanager
def _alone(denoiser: nn.Module) -> Iterator[None]:
    """Only one sequence at a time on a denoiser: its attention is ours meanwhile, and tokenizers are not thread-safe."""
    with _running_lock:
        if denoiser in _running:
            raise BusyError("this pipeline already makes a sequence in another thread; wait for it or load a second pipeline")
        _running.add(denoiser)
    try:
        yield
    finally:
        with _running_lock:
            _running.discard(denoiser)

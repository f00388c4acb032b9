"""From two prompts to the frames between them, on any stock diffusers pipeline, in one batched pass."""

from __future__ import annotations

import inspect
import threading
import time
import warnings
import weakref
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as SequenceOf
from contextlib import contextmanager
from typing import Any, Literal

from torch import Tensor, nn

from .attention.apply import find_denoiser
from .attention.chunking import CPU_ROWS
from .coefficients import BetaPrior, check_frames, frame_coefficients
from .conditioning.embeddings import check_guidance, encode_prompts, text_family
from .conditioning.latents import check_latents, check_seed
from .conditioning.prompts import check_prompts, say_if_equal
from .config import AIDConfig
from .errors import BusyError, ConfigError, FrameWarning, PromptError
from .io.provenance import LATENTS_FILE, settings
from .metrics.distances import distance
from .sampling.denoising import Denoising
from .sampling.stock_arguments import (
    check_image_prompts,
    check_numbers,
    check_size,
    check_stock_arguments,
    stock_parameters,
)
from .sampling.stock_call import Progress, private_copy
from .selection import Selection
from .selection.run import check_selection, select_frames
from .selection.settings import as_selection
from .sequence import Sequence


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
    select: str | Selection | None = None,
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
        select: choose the coefficients by what the frames look like: "dynamic", "bayes" or a `Selection`
            (appendices D and F). "dynamic" denoises half as many frames again.
        progress: called with (steps done, steps in all).
        stock: anything else the stock call takes (`image`, `strength`, `cross_attention_kwargs`, ...).

    Returns:
        A `Sequence`.

    Raises:
        AIDError: its subclasses name what is wrong, before any denoising: `ArgumentError`, `CoefficientsError`,
            `ConfigError`, `DistanceError`, `LatentsError`, `PromptError`, `SelectionError`, `UnsupportedPipelineError`;
            `BusyError` if the denoiser already serves another sequence in another thread.
    """
    began = time.perf_counter()
    config = AIDConfig() if config is None else config
    if not isinstance(config, AIDConfig):
        raise ConfigError(f"config must be an AIDConfig, got {config!r}; for example AIDConfig(mode='outer')")
    check_numbers(num_inference_steps, guidance_scale, output_type, chunk)
    t = frame_coefficients(coefficients, check_frames(frames))
    prompts = check_prompts(prompt_a, prompt_b, guide, negative_prompt, frames)
    say_if_equal(prompts)
    check_seed(seed)
    check_latents(latents, frames)
    selection = as_selection(select)
    if selection is not None:
        check_selection(selection, frames, coefficients, latents, guide, output_type, stock.get("image"))
    family = text_family(pipe)
    check_stock_arguments(pipe, stock, list(inspect.signature(interpolate).parameters))
    binned = "use_resolution_binning" in stock_parameters(pipe) and stock.get("use_resolution_binning", True)
    check_size(pipe, height, width, binned)
    guidance = {"guidance_scale": guidance_scale, **stock}
    guided = check_guidance(pipe, family, guidance, negative_prompt is not None)
    check_image_prompts(pipe, stock, 2 if guided and family.encodes_negative else 1)
    if config.mode == "denoising" and guide is not None:
        raise PromptError('mode="denoising" changes from one prompt to the other and reads no guide; leave it out')
    if selection is not None:
        measure = distance(selection.distance)

    call = stock | {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
    call |= {name: size for name, size in (("height", height), ("width", width)) if size is not None}
    record = None
    with _alone(find_denoiser(pipe)):
        encoded = encode_prompts(private_copy(pipe), family, prompts, guided, stock)
        denoising = Denoising(
            pipe, config, encoded, guide is not None, check_seed(seed), latents, chunk, call, output_type
        )
        called = time.perf_counter()
        if selection is None:
            made = denoising.frames(t, progress)
        else:
            most = _frames_per_call(pipe, chunk, 2 if guided and family.encodes_negative else 1)
            selected = select_frames(denoising, selection, measure, frames, most, progress)
            made, t, record = selected.made, selected.coefficients, selected.record
    ended = time.perf_counter()

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
        "select": selection,
    }
    selecting = {"select": ended - called - made.denoise - made.decode} if record is not None else {}
    sequence = Sequence(
        images=made.images,
        coefficients=t,
        settings=settings(pipe, asked | stock, config, made.chunk, record),
        timings={
            "encode": called - began,
            "denoise": made.denoise,
            "decode": made.decode,
            **selecting,
            "total": ended - began,
        },
        report=made.report,
        not_finite=made.not_finite,
        flagged=made.flagged,
        latents=latents,
    )
    for fault in sequence.faults:
        warnings.warn(fault, FrameWarning, stacklevel=2)
    return sequence


def _frames_per_call(pipe: Any, chunk: int | Literal["auto"], rows: int) -> int | None:
    """How many new frames of `rows` rows each fit one denoiser call; None: a GPU's memory decides during the call."""
    if chunk == "auto":
        return None if pipe.device.type == "cuda" else max(1, CPU_ROWS // rows)
    return max(1, chunk // rows)


_running: weakref.WeakSet[nn.Module] = weakref.WeakSet()
_running_lock = threading.Lock()


@contextmanager
def _alone(denoiser: nn.Module) -> Iterator[None]:
    """One sequence at a time on a denoiser: its attention is ours meanwhile; tokenizers are not thread-safe."""
    with _running_lock:
        if denoiser in _running:
            raise BusyError(
                "this pipeline already makes a sequence, in another thread or around this call; wait for it or load a "
                "second pipeline"
            )
        _running.add(denoiser)
    try:
        yield
    finally:
        with _running_lock:
            _running.discard(denoiser)

"""Attention interpolation between two prompts on any stock diffusers pipeline: validate, encode, sample, record."""

from __future__ import annotations

import inspect
import threading
import time
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as SequenceOf
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor, nn

from aid_kernels import CallBucket, Choice, choices_to_json, recorded_choices

from .attention.memory import CPU_ROWS
from .attention.step_caches import check_step_caches
from .coefficients import BetaPrior
from .conditioning.prompts import warn_if_prompts_equal
from .conditioning.replay import Encodings, check_replay
from .config import DEFAULT_GUIDANCE, DEFAULT_STEPS, AIDConfig
from .errors import BusyError, FrameWarning
from .families import check_encoder, check_images, find_denoiser, rows_per_frame
from .io.provenance import settings
from .keyframes import Keyframe
from .metrics.distances import distance
from .sampling.denoising import Denoising
from .sampling.pinned_ends import pinned_ends
from .sampling.stock_arguments import (
    check_image_prompts,
    check_size,
    check_stock_arguments,
    stock_parameters,
    with_clip_length,
)
from .sampling.stock_call import Progress
from .selection import Selection
from .selection.run import select_frames
from .sequence import FrameSequence
from .spec import DEFAULT_FRAMES, InterpolationSpec


def interpolate(
    pipe: Any,
    prompt_a: str | Keyframe,
    prompt_b: str | Keyframe,
    frames: int = DEFAULT_FRAMES,
    config: AIDConfig | None = None,
    guide: str | SequenceOf[str] | None = None,
    coefficients: BetaPrior | Iterable[float] | None = None,
    latents: Tensor | None = None,
    seed: int | tuple[int, int] = InterpolationSpec.seed,
    chunk: int | Literal["auto"] = InterpolationSpec.chunk,
    num_inference_steps: int = DEFAULT_STEPS,
    guidance_scale: float = DEFAULT_GUIDANCE,
    negative_prompt: str | tuple[str, str] | None = None,
    height: int | None = None,
    width: int | None = None,
    output_type: str = InterpolationSpec.output_type,
    *,
    select: str | Selection | None = None,
    progress: Progress | None = None,
    **stock: Any,
) -> FrameSequence:
    """Frames from `prompt_a` to `prompt_b`, by attention interpolation (arXiv 2403.17924, sections 3 to 6).

    The pipeline is a stock one and comes back as it was; its scheduler is copied. The first and the last frame are what
    the pipeline alone generates from their prompt and seed.

    Args:
        pipe: a pipeline for images with `encode_prompt`, whose text reaches the denoiser as embeddings of each prompt;
            or one for videos, whose frames here are clips: the first and the last what it alone generates, each
            interior one a clip between them.
        prompt_a, prompt_b: what the first and the last frame show: a text, or a `Keyframe` with a real image.
        frames: m >= 2, both endpoints included; by default as many as there are numbers in `coefficients`, else 7.
        config: how to interpolate; None means `AIDConfig()`.
        guide: text of the interior frames (PAID, section 6): one prompt, or one per interior frame.
        coefficients: t of each frame: None for uniform, a `BetaPrior`, or m numbers from 0 to 1.
        latents: unscaled noise: both endpoints (2, C, h, w), slerped whole, or every frame (m, C, h, w).
        seed: one number for the same noise at both endpoints, or a pair. Schedulers that add noise draw from the first.
        chunk: rows per denoiser call; any value gives the same frames, smaller ones need less memory.
        negative_prompt: one text, or one per endpoint, whose embeddings are then lerped.
        output_type: "pil", "pt", "np" or "latent".
        select: choose the coefficients by what the frames look like: "dynamic", "bayes" or a `Selection`
            (appendices D and F). "dynamic" denoises half as many frames again.
        progress: called with (steps done, steps in all).
        stock: anything else the stock call takes (`image`, `strength`, `cross_attention_kwargs`, ...). With real images
            at the ends also `keep_ends` ("vae" or "file"), `path` ("inverted" or "noised"), and `strength` is the share
            of the steps that interior frames are denoised for.

    Returns:
        A `Sequence`. Its frames' faults are also warned of (`FrameWarning`).

    Raises:
        AIDError: its subclasses name what is wrong, before any denoising: `ArgumentError`, `CoefficientsError`,
            `ConfigError`, `DistanceError`, `LatentsError`, `PromptError`, `SelectionError`, `UnsupportedPipelineError`;
            `BusyError` if the denoiser already runs another sequence in another thread.
    """
    spec = InterpolationSpec.between(
        prompt_a,
        prompt_b,
        frames=frames,
        config=config,
        guide=guide,
        coefficients=coefficients,
        latents=latents,
        seed=seed,
        chunk=chunk,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        negative_prompt=negative_prompt,
        height=height,
        width=width,
        output_type=output_type,
        select=select,
        **stock,
    )
    return sample_sequence(pipe, spec, progress)


def sample_sequence(
    pipe: Any,
    spec: InterpolationSpec,
    progress: Progress | None = None,
    choices: Mapping[CallBucket, Choice] | None = None,
) -> FrameSequence:
    """The sequence of a specification; what `interpolate` does once its arguments are checked.

    Args:
        choices: what served an earlier sequence's attention, to repeat its bits; None means what is fastest here.

    Raises:
        AIDError: as `interpolate`, of what depends on the pipeline.
    """
    began = time.perf_counter()
    spec = _without_guidance(pipe, spec)
    t = spec.frame_coefficients()
    denoising = prepare(pipe, spec)
    measure = None if spec.select is None else distance(spec.select.distance)
    choice = None
    with exclusive(find_denoiser(pipe)), recorded_choices(choices) as used:
        if spec.select is None or measure is None:
            sampled = denoising.sample(t, progress)
        else:
            most = _frames_per_call(pipe, spec.chunk, rows_per_frame(pipe, spec.guidance_scale))
            selected = select_frames(denoising, spec.select, measure, spec.frames, most, progress)
            sampled, t, choice = selected.sampled, selected.coefficients, selected.record
    ended = time.perf_counter()
    timings = {"encode": denoising.encodings.seconds, "denoise": sampled.denoise, "decode": sampled.decode}
    if choice is not None:
        timings["select"] = ended - began - sum(timings.values())
    sequence = FrameSequence(
        images=sampled.images,
        coefficients=t,
        settings=settings(pipe, spec.to_json(), sampled.chunk, choice) | {"choices": _by_layer(used, sampled.calls)},
        timings={**timings, "total": ended - began},
        report=sampled.report,
        not_finite=sampled.not_finite,
        flagged=sampled.flagged,
        latents=spec.latents,
        end_images={} if denoising.pins is None else denoising.pins.images(),
    )
    for fault in sequence.faults:
        warnings.warn(fault, FrameWarning, stacklevel=3)
    return sequence


def prepare(pipe: Any, spec: InterpolationSpec) -> Denoising:
    """The stock calls of a specification checked. Who samples them holds `exclusive` meanwhile.

    Raises:
        AIDError: as `interpolate`, of what depends on the pipeline.
    """
    spec = _without_guidance(pipe, spec)
    _check_pipeline(pipe, spec)
    real, pins = spec.real_ends(), None
    if real is not None:
        with exclusive(find_denoiser(pipe)):
            pins = pinned_ends(pipe, spec.keyframes, real, spec.stock_call(), spec.seeds()[0])
    return Denoising(
        pipe=pipe,
        config=spec.config,
        prompts=spec.prompts(),
        encodings=Encodings(),
        seeds=spec.seeds(),
        latents=spec.latents,
        chunk=spec.chunk,
        call=with_clip_length(pipe, spec.stock_call()),
        output_type=spec.output_type,
        pins=pins,
    )


def _without_guidance(pipe: Any, spec: InterpolationSpec) -> InterpolationSpec:
    """Guidance off where there is nothing to guide with: real images, no text, and so two equal predictions."""
    prompts = (*(keyframe.prompt for keyframe in spec.keyframes), spec.guide, spec.negative_prompt)
    if spec.real_ends() is None or any(prompts):
        return spec
    check_encoder(pipe)
    return replace(spec, guidance_scale=1.0) if rows_per_frame(pipe, spec.guidance_scale) > 1 else spec


def _by_layer(used: Mapping[CallBucket, Choice], calls: Mapping[str, list[CallBucket]]) -> list[dict[str, Any]]:
    """Every kind of attention call with the choice that served it and the layers that call it, as JSON holds it."""
    layers = [[name for name, seen in calls.items() if bucket in seen] for bucket in used]
    return [{**item, "layers": names} for item, names in zip(choices_to_json(used), layers, strict=True)]


def _check_pipeline(pipe: Any, spec: InterpolationSpec) -> None:
    """Check what depends on the pipeline."""
    if spec.real_ends() is None:
        warn_if_prompts_equal(spec.prompts())
    denoiser, stock = find_denoiser(pipe), with_clip_length(pipe, spec.stock_arguments())
    check_encoder(pipe)
    check_stock_arguments(pipe, stock, list(inspect.signature(interpolate).parameters))
    binned = "use_resolution_binning" in stock_parameters(pipe) and stock.get("use_resolution_binning", True)
    check_size(pipe, spec.height, spec.width, binned)
    scale = None if spec.guidance_scale == DEFAULT_GUIDANCE else spec.guidance_scale
    check_replay(pipe, spec.prompts(), scale, stock)
    rows = rows_per_frame(pipe, spec.guidance_scale)
    check_image_prompts(pipe, stock, rows)
    if spec.select is not None:
        check_images(pipe, "select")
    dynamic = spec.select is not None and spec.select.method == "dynamic"
    check_step_caches(denoiser, spec.chunk, rows * spec.frames, dynamic)


def _frames_per_call(pipe: Any, chunk: int | Literal["auto"], rows: int) -> int | None:
    """Most new frames of `rows` rows each in one denoiser call; None means that a GPU's memory decides in the call."""
    if chunk == "auto":
        return None if pipe.device.type == "cuda" else max(1, CPU_ROWS // rows)
    return max(1, chunk // rows)


_running: weakref.WeakSet[nn.Module] = weakref.WeakSet()
_running_lock = threading.Lock()


@contextmanager
def exclusive(denoiser: nn.Module) -> Iterator[None]:
    """One sequence at a time on a denoiser: its processors are replaced meanwhile, and tokenizers are not thread-safe.

    Raises:
        BusyError: another sequence is under way.
    """
    with _running_lock:
        if denoiser in _running:
            raise BusyError(
                "this pipeline already samples a sequence, in another thread or around this call; wait for it or load "
                "a second pipeline"
            )
        _running.add(denoiser)
    try:
        yield
    finally:
        with _running_lock:
            _running.discard(denoiser)

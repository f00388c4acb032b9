"""`python -m benchmarks.denoiser`: whole denoiser steps, as the public code schedules them and in one batch.

Single steps are timed: one of the warm-up, with interpolation, and one after it, without. A sequence of 50 steps is
their sum, and its error what the sum makes of their 20th and 80th percentiles; nothing but the denoiser is in it
(`benchmarks.sequence_cpu` times whole sequences, pipeline and all). Part of the GPU run; alone on a CPU it times the
miniature and writes denoiser.json and denoiser.md.

Peers: `public`, the public code's schedule, with probabilities in memory (one frame's calls are timed: all frames cost
the same); `sdpa`, `triton`, `auto`, all rows in one call through this package, by implementation. Once the warm-up is
over those three are the stock call, which is timed once for all of them, as `stock`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from aid_pipeline import AIDConfig, aid
from benchmarks.common import machine
from benchmarks.common.settings import BenchmarkSettings, Row
from benchmarks.denoiser.cpu_command import run_command
from benchmarks.denoiser.public_schedule import MaterializedProcessor
from benchmarks.denoiser.step_timing import Times, peak_mib, time_call
from benchmarks.denoiser.unets import MINIATURE, Step, build, make_step

STEPS, WARMUP = 50, 0.5
FRAMES = (7, 3, 15)  # the most telling first, should time run out
COMPILED_FRAMES = 7
NOTE = f"""Single steps timed; {STEPS} steps, {WARMUP:.0%} of them interpolated, extrapolated from them: from the
medians, in brackets from the 20th and 80th percentiles. `public` is the public code's schedule, of which one frame's
calls were timed; the others run all rows in one call. Peak: weights and everything else."""
PEERS = ("auto", "public", "sdpa", "triton")  # by value, likewise
SAME = 1e-3  # largest share that float32 results of two schedules may differ by
COMPILATION = 45.0  # seconds, of one kind of step on a GPU


def run(settings: BenchmarkSettings) -> Iterator[Row]:
    """Rows of every model, number of frames and peer, then of the compiled models; a deadline ends it between two."""
    frames = (3,) if settings.smoke else FRAMES
    right: dict[str, list[str]] = {}
    for model in models(settings):
        unet: Any = build(model, settings.device, torch.float32, settings.seed)
        right[model] = list(PEERS if settings.device.type == "cuda" else PEERS[:3])  # Triton where it compiles
        for row in _checked(unet, model, right[model], settings):
            right[model].remove(row["peer"])
            yield row
        unet = unet.to(settings.dtype)
        for m in frames:
            yield from _rows(unet, model, m, right[model], "", settings)
        del unet
    backend = "eager" if settings.smoke else "inductor"
    for model, peers in right.items():
        if settings.expired(COMPILATION if settings.device.type == "cuda" else 0.0):
            yield {"part": "denoiser", "shape": model, "compiled": backend, "problem": "out of time"}
            return
        unet = build(model, settings.device, settings.dtype, settings.seed)
        with torch._dynamo.config.patch(recompile_limit=64):  # one code object serves all blocks, whatever their widths
            unet.compile_repeated_blocks(fullgraph=True, dynamic=False, backend=backend)
            compiled = [peer for peer in peers if peer != "triton"]
            try:
                yield from _rows(unet, model, min(COMPILED_FRAMES, max(frames)), compiled, backend, settings)
            except Exception as error:  # noqa: BLE001 - a compiler that fails takes no eager row along
                yield {"part": "denoiser", "shape": model, "compiled": backend, "problem": _told(error)}
        del unet
        torch._dynamo.reset()


def models(settings: BenchmarkSettings) -> tuple[str, ...]:
    """What is timed on this device, in this order."""
    return ("sdxl-1024", "sd15-512") if settings.device.type == "cuda" and not settings.smoke else (MINIATURE,)


def estimated_minutes(settings: BenchmarkSettings) -> float:
    """Weights, inputs and steps of both models, half of it compilation; on two cores the miniature alone."""
    return 0.5 if settings.smoke else 3.0


# -- one step --------------------------------------------------------------------------------------------------------


@contextmanager
def public(unet: Any, step: Step, interpolate: bool) -> Iterator[Callable[[], Tensor]]:
    """The public code's two calls for one frame; they return the conditional one's rows [first, frame, last]."""
    frame, last = 1, step.frames - 1
    negative = step.batch.select([0, frame, last])
    positive = step.batch.select([step.frames + row for row in (0, frame, last)])
    t = torch.tensor([0, float(step.described.plan.host_weights[frame, 1]), 1]).to(step.batch.sample).view(3, 1, 1, 1)
    before, processor = unet.attn_processors, MaterializedProcessor()

    def call() -> Tensor:
        processor.coefficients = None
        negative.run(unet)
        processor.coefficients = t if interpolate else None
        return positive.run(unet)

    unet.set_attn_processor(processor)
    try:
        yield call
    finally:
        unet.set_attn_processor(dict(before))


def interpolating(unet: nn.Module, step: Step, impl: str) -> Any:
    """All conditional rows of a UNet call are interpolated while this context lasts."""
    return aid(unet, AIDConfig(mode="outer", warmup=1.0, impl=impl), step.described)


def _checked(unet: nn.Module, model: str, peers: list[str], settings: BenchmarkSettings) -> Iterator[Row]:
    """A row for each peer that computes another frame than the public schedule does, in float32, or cannot run.

    So that this can fail, the frame must also be four times nearer than the stock step's, which does not interpolate.
    """
    step = make_step(unet, 3, settings.seed)
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        with public(unet, step, interpolate=True) as call:
            expected = call()[1]
        plain = _difference(step.batch.run(unet)[4], expected)
        for peer in [peer for peer in peers if peer != "public"]:
            try:
                with interpolating(unet, step, peer):
                    difference = _difference(step.batch.run(unet)[4], expected)
            except Exception as error:  # noqa: BLE001 - whatever one peer's kernels raise, the others are timed
                problem = _told(error)
            else:
                problem = f"differs from the public schedule by {difference:.1e}, the stock step by {plain:.1e}"
                if difference < min(SAME, plain / 4):
                    continue
            yield {"part": "denoiser", "shape": model, "peer": peer, "problem": problem + ": not timed"}


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _difference(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).square().mean().sqrt() / expected.square().mean().sqrt())


# -- sequences -------------------------------------------------------------------------------------------------------


def _rows(
    unet: nn.Module, model: str, m: int, peers: list[str], backend: str, settings: BenchmarkSettings
) -> Iterator[Row]:
    """Step by step, then the sequence made of them, peer by peer."""
    step = make_step(unet, m, settings.seed)
    about = {"part": "denoiser", "shape": model, "m": m, "compiled": backend or "no"}
    batched, slowest = partial(step.batch.run, unet), 0.0
    with torch.no_grad():
        if settings.expired():
            yield about | {"problem": "out of time"}
            return
        after = measure(batched, unet, settings)
        yield about | {"peer": "stock", "what": "plain step"} | _figures(*after)
        for peer in peers:
            compiling = COMPILATION if backend == "inductor" and settings.device.type == "cuda" else 0.0
            if settings.expired(compiling + 4 * (rounds(settings) + 2) * slowest / 1e3):
                yield about | {"peer": peer, "problem": "out of time"}
                return
            if peer == "public":
                with public(unet, step, interpolate=True) as call:
                    first = measure(call, unet, settings)
                with public(unet, step, interpolate=False) as call:
                    rest = measure(call, unet, settings)
                scaled = m - 2
                yield about | {"peer": peer, "what": "plain step", "frames_timed": 1} | _figures(*rest, scaled)
            else:
                with interpolating(unet, step, peer):
                    first = measure(batched, unet, settings)
                rest, scaled = after, 1
            yield about | {"peer": peer, "what": "warm-up step"} | _figures(*first, scaled)
            yield about | {"peer": peer, "what": f"{STEPS} steps"} | sequence(first, rest, scaled, m)
            slowest = max(slowest, first[0].median)


def rounds(settings: BenchmarkSettings) -> int:
    """Timings of a step, after the one that does not count."""
    return 2 if settings.smoke else 5


def measure(call: Callable[[], object], unet: nn.Module, settings: BenchmarkSettings) -> tuple[Times, float]:
    """Times and peak memory, in MiB, of one kind of step."""
    return time_call(call, settings.device, rounds(settings)), peak_mib(call, unet, settings.device)


def _figures(times: Times, peak: float, scaled: int = 1) -> Row:
    names = {"median_ms": times.median, "p20_ms": times.p20, "p80_ms": times.p80}
    return {name: scaled * value for name, value in names.items()} | {"peak_mib": peak}


def sequence(first: tuple[Times, float], rest: tuple[Times, float], scaled: int, frames: int) -> Row:
    """What STEPS steps make of two timed ones: seconds with the range that the percentiles span, and rates."""
    warm = AIDConfig(warmup=WARMUP).active_steps(STEPS)

    def seconds(name: str) -> float:
        return scaled * (warm * getattr(first[0], name) + (STEPS - warm) * getattr(rest[0], name)) / 1e3

    return {
        "extrapolated_s": seconds("median"),
        "low_s": seconds("p20"),
        "high_s": seconds("p80"),
        "seconds_per_frame": seconds("median") / frames,
        "frames_per_second": frames / seconds("median"),
        "peak_mib": max(first[1], rest[1]),
    }


# -- alone -----------------------------------------------------------------------------------------------------------


def table(rows: list[Row]) -> str:
    """A line per peer, Markdown, and what was not timed."""
    lines = [
        "| shape | frames | compiled | peer | warm-up step, ms | plain step, ms | 50 steps, s | s per frame | frames/s "
        "| peak, MiB |",
        "|---|--:|---|---|--:|--:|---|--:|--:|--:|",
    ]
    step: dict[tuple[Any, ...], float] = {
        (row["shape"], row["m"], row["compiled"], row["peer"], row["what"]): row["median_ms"]
        for row in rows
        if "median_ms" in row
    }
    for row in rows:
        if "extrapolated_s" in row:
            key, peer = (row["shape"], row["m"], row["compiled"]), row["peer"]
            plain = step[*key, "public" if peer == "public" else "stock", "plain step"]
            lines.append(
                f"| {row['shape']} | {row['m']} | {row['compiled']} | `{peer}` "
                f"| {step[*key, peer, 'warm-up step']:.0f} | {plain:.0f} "
                f"| {row['extrapolated_s']:.1f} ({row['low_s']:.1f} to {row['high_s']:.1f}) "
                f"| {row['seconds_per_frame']:.2f} | {row['frames_per_second']:.3f} | {row['peak_mib']:.0f} |"
            )
    lines += [f"\n{row['shape']} {row.get('peer', '')}: {row['problem']}" for row in rows if "problem" in row]
    return "\n".join(lines) + "\n"


def markdown(result: dict[str, Any]) -> str:
    """The result as a page."""
    return f"""# Denoiser steps on the CPU

Written by `{result["command"]}`. {machine.line(result["machine"])}. The miniature's UNet ({result["weights"]}
weights), {result["dtype"]}, guidance, so 2 m rows a step.

{NOTE}

{table(result["rows"])}"""


def main(arguments: list[str] | None = None) -> None:
    run_command("denoiser", __doc__, run, markdown, arguments)

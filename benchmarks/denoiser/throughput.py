"""`python -m benchmarks.throughput`: many users' sequences in one batch against one after another.

A plan of several is `InterpolationPlan.concat` of theirs: strangers' rows share the launch, and nothing else. Frames
per second over the number of users, of attention alone and of whole denoiser steps (50 of them, extrapolated as
`benchmarks.denoiser` does). Part of the GPU run; alone on a CPU it takes the miniature and writes throughput.json and
throughput.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from aid_kernels import InterpolationPlan, outer_attention
from benchmarks.common import machine
from benchmarks.common.settings import BenchmarkSettings, Row
from benchmarks.denoiser.cpu_command import run_command
from benchmarks.denoiser.step_timing import Times, time_call
from benchmarks.denoiser.steps import interpolating, measure, sequence
from benchmarks.denoiser.unets import MINIATURE, build, make_step
from benchmarks.operator.shapes import SHAPES, LayerShape

FRAMES = 7
TOGETHER, APART = "one batch", "one after another"
# layers where one sequence leaves a GPU idle, and one where it does not
LAYERS = ("sdxl-1024 self 1024", "sdxl-1024 cross 1024", "sd15-512 self 256", "sdxl-1024 self 4096")
SMALL_SHAPES = (LayerShape("miniature self 256", 2, 256, 256, 40), LayerShape("miniature cross 256", 2, 256, 32, 40))


def run(settings: BenchmarkSettings) -> Iterator[Row]:
    """Rows of attention, shape by shape, then of the denoiser; a deadline ends it between two numbers of users."""
    gpu = settings.device.type == "cuda" and not settings.smoke
    users = (1, 2) if settings.smoke else (1, 2, 4, 8, 16)
    for shape in [SHAPES[name] for name in LAYERS] if gpu else SMALL_SHAPES:
        for row in _attention_rows(shape, users, settings):
            yield {"part": "throughput", "level": "attention", **row}
    model = "sd15-512" if gpu else MINIATURE
    if settings.expired(10 if gpu else 0):
        yield {"part": "throughput", "shape": model, "problem": "out of time"}
        return
    unet = build(model, settings.device, settings.dtype, settings.seed)
    for row in _denoiser_rows(unet, model, users[:4], settings):
        yield {"part": "throughput", "level": "denoiser", **row}


def estimated_minutes(settings: BenchmarkSettings) -> float:
    return 0.3 if settings.smoke else 0.7


# -- attention -------------------------------------------------------------------------------------------------------


def _attention_rows(shape: LayerShape, users: tuple[int, ...], settings: BenchmarkSettings) -> Iterator[Row]:
    """Both ways for each number of users, the same tensors, after a check that they compute the same."""
    device, generator = settings.device, torch.Generator().manual_seed(settings.seed)
    one = InterpolationPlan.sequence(torch.linspace(0, 1, FRAMES)).to(device)

    def draw(length: int, rows: int) -> Tensor:
        tensor = torch.randn(rows, length, shape.heads, shape.head_dim, generator=generator)
        return tensor.to(device, settings.dtype).transpose(1, 2)

    for count in users:
        about = {"shape": shape.name, "m": FRAMES, "users": count}
        if settings.expired(1):
            yield about | {"problem": "out of time"}
            return
        rows = count * FRAMES
        lengths = (shape.query_length, shape.key_length, shape.key_length)
        query, key, value = (draw(length, rows) for length in lengths)
        parts = list(zip(*(tensor.split(FRAMES) for tensor in (query, key, value)), strict=True))
        plan = InterpolationPlan.concat([one] * count)

        def together(q: Tensor = query, k: Tensor = key, v: Tensor = value, plan: Any = plan) -> Tensor:
            return outer_attention(q, k, v, plan)

        def apart(parts: Any = parts) -> list[Tensor]:
            return [outer_attention(q, k, v, one) for q, k, v in parts]

        difference = _difference(together(), torch.cat(apart()))
        if difference > 16 * torch.finfo(settings.dtype).eps:
            yield about | {"problem": f"one batch differs by {difference:.1e} from one after another: not timed"}
            continue
        rounds = 2 if settings.smoke else 9
        for peer, call in ((TOGETHER, together), (APART, apart)):
            times = time_call(call, device, rounds, repeats=10 if device.type == "cuda" else 1)
            yield about | {"peer": peer, "frames_per_second": 1e3 * rows / times.median} | _percentiles(times)


# -- denoiser --------------------------------------------------------------------------------------------------------


def _denoiser_rows(unet: nn.Module, model: str, users: tuple[int, ...], settings: BenchmarkSettings) -> Iterator[Row]:
    """All users' frames in one call. One after another is as fast as one user alone: the row of one user says it."""
    frames = 3 if settings.smoke else FRAMES
    alone = 0.0
    for count in users:
        about = {"shape": model, "m": frames, "users": count}
        if settings.expired(count * alone):
            yield about | {"problem": "out of time"}
            return
        step = make_step(unet, frames, settings.seed, count)
        call = partial(step.batch.run, unet)
        with torch.no_grad():
            with interpolating(unet, step, "auto"):
                first = measure(call, unet, settings)
            rest = measure(call, unet, settings)
        # ten calls of each kind are about what another user's measurement takes
        alone = alone or 20 * first[0].median / 1e3
        yield about | {"peer": TOGETHER} | sequence(first, rest, 1, count * frames)


def _percentiles(times: Times) -> Row:
    return {"median_ms": times.median, "p20_ms": times.p20, "p80_ms": times.p80}


def _difference(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


# -- alone -----------------------------------------------------------------------------------------------------------


def tables(rows: list[Row]) -> str:
    """Attention, then the denoiser, Markdown, and what was not timed."""
    measured = [row for row in rows if "problem" not in row]
    rate = {(row["shape"], row["users"], row["peer"]): row["frames_per_second"] for row in measured}
    lines = [
        "| attention | users | one batch, frames/s | one after another, frames/s | faster |",
        "|---|--:|--:|--:|--:|",
    ]
    attention = [row for row in measured if row["level"] == "attention"]
    for shape, users in dict.fromkeys((row["shape"], row["users"]) for row in attention):
        together, apart = rate[shape, users, TOGETHER], rate[shape, users, APART]
        lines.append(f"| {shape} | {users} | {together:.0f} | {apart:.0f} | {together / apart:.2f}x |")
    lines += ["", "| denoiser, 50 steps extrapolated | users | frames each | frames/s | over one user | peak, MiB |"]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    for row in measured:
        if row["level"] == "denoiser":
            gain = row["frames_per_second"] / rate[row["shape"], 1, TOGETHER]
            lines.append(
                f"| {row['shape']} | {row['users']} | {row['m']} | {row['frames_per_second']:.3f} | {gain:.2f}x "
                f"| {row['peak_mib']:.0f} |"
            )
    lines += [f"\n{row['shape']}: {row['problem']}" for row in rows if "problem" in row]
    return "\n".join(lines) + "\n"


def markdown(result: dict[str, Any]) -> str:
    """The result as a page."""
    return f"""# Many users in one batch, on the CPU

Written by `{result["command"]}`. {machine.line(result["machine"])}. {result["dtype"]}, outer, fused; the
miniature's shapes and UNet ({result["weights"]} weights).

{tables(result["rows"])}"""


def main(arguments: list[str] | None = None) -> None:
    run_command("throughput", __doc__, run, markdown, arguments)

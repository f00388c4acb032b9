"""Part `operator` of the GPU run: every peer on every shape, checked against the reference, then timed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from aid_kernels import InterpolationPlan
from benchmarks.common.ceilings import matmul_flops_per_second
from benchmarks.common.settings import BenchmarkSettings, Row
from benchmarks.common.timing import MIB, measure, peak_bytes, rotation
from benchmarks.operator.peers import LOSSY, PEERS, check_sample, missing
from benchmarks.operator.shapes import FRAMES, LayerShape, Work, works

# the two that the result is about first
ALL = ("ours", "sdpa", "sdpa_concat", "plain", "flex", "sdpa_compiled", "materialized", "flash3", "sage")
# seconds of compilation and of one measurement: what must be left to start one
COMPILED = {"flex": 25.0, "sdpa_compiled": 15.0, "ours": 8.0}
MEASURED = 1.0
# share of the free memory that materialized probabilities may take
ROOM = 0.6


@dataclass(frozen=True)
class Inputs:
    """Sets of (query, key, value) to take in turns, (m, S, H, D).transpose(1, 2) as diffusers passes them."""

    sets: list[tuple[Tensor, Tensor, Tensor]]
    plan: InterpolationPlan


def estimated_minutes(settings: BenchmarkSettings) -> float:
    return 0.3 if settings.smoke else 3.0


def run(settings: BenchmarkSettings) -> Iterator[Row]:
    """A row per case and peer, by value; a peer that cannot serve a case says why in `problem`."""
    for work in works(settings.smoke):
        if settings.expired(MEASURED):
            return
        # past a handful of shapes torch would quietly stop compiling
        torch.compiler.reset()
        inputs = make_inputs(work.shape, work.frames, settings)
        for peer in peers_of(work, settings.smoke):
            if settings.expired(MEASURED + (0.0 if settings.smoke else COMPILED.get(peer, 0.0))):
                continue
            row = (
                {"part": "operator"} | work.row() | {"dtype": str(settings.dtype).removeprefix("torch."), "peer": peer}
            )
            try:
                yield row | _measured(work, peer, inputs, settings)
            except Exception as error:  # noqa: BLE001 - a peer may fail in any way; the row tells, the others go on
                yield row | {"problem": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
            if settings.device.type == "cuda":
                torch.cuda.empty_cache()


def peers_of(work: Work, smoke: bool) -> tuple[str, ...]:
    """Everybody on the usual number of frames; with others the first four, to see how time grows."""
    return ALL if smoke or work.frames == FRAMES else ALL[:4]


def make_inputs(shape: LayerShape, frames: int, settings: BenchmarkSettings) -> Inputs:
    """Random normal values, as many sets as it takes to be larger than the L2."""
    generator = torch.Generator(settings.device).manual_seed(settings.seed)
    lengths = (shape.query_length, shape.key_length, shape.key_length)
    size = sum(frames * length * shape.heads * shape.head_dim for length in lengths) * settings.dtype.itemsize

    def draw(length: int) -> Tensor:
        values = torch.randn(frames, length, shape.heads, shape.head_dim, generator=generator, device=settings.device)
        return values.to(settings.dtype).transpose(1, 2)

    sets = []
    for _ in range(rotation(size, settings.device)):
        query, key, value = (draw(length) for length in lengths)
        sets.append((query, key, value))
    return Inputs(sets, InterpolationPlan.sequence(torch.linspace(0, 1, frames), device=settings.device))


def _measured(work: Work, peer: str, inputs: Inputs, settings: BenchmarkSettings) -> Row:
    reason = missing(peer) or _too_large(work, peer, settings)
    if reason:
        return {"problem": reason}
    attention = PEERS[work.mode][peer]

    def call(place: int = 0) -> Tensor:
        return attention(*inputs.sets[place], inputs.plan, True)

    plan = InterpolationPlan.plain(work.frames, device=settings.device) if peer == "plain" else inputs.plan
    error = check_sample(work.mode, call(), *inputs.sets[0], plan, LOSSY.get(peer))
    timing = measure(call, len(inputs.sets), settings.device)
    flops = work.useful_flops() if peer != "plain" else work.useful_flops() // work.units() * work.frames
    speed = flops / (timing.median_ms * 1e-3)
    return timing.row() | {
        "useful_tflops": speed / 1e12,
        "ceiling_share": speed / matmul_flops_per_second(settings),
        "peak_mib": peak_bytes(call, settings.device) / MIB,
        "error": error,
    }


def _too_large(work: Work, peer: str, settings: BenchmarkSettings) -> str | None:
    """Materialized logits and probabilities of both keys, and the room they would take."""
    if peer != "materialized" or settings.device.type != "cuda":
        return None
    shape = work.shape
    needed = 2 * 2 * work.frames * shape.heads * shape.query_length * shape.key_length * settings.dtype.itemsize
    free, _ = torch.cuda.mem_get_info(settings.device)
    if needed <= ROOM * free:
        return None
    return f"probabilities need {needed / 2**30:.0f} GiB, {free / 2**30:.0f} are free"

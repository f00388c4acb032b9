"""Search for the best way to launch the kernel: candidates compiled, checked, timed, the best few again in turns.

A part of `python -m benchmarks.gpu`, and `python -m benchmarks.tune` alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aid_kernels import InterpolationPlan
from aid_kernels.interpolated_attention.inputs import AttentionInputs
from aid_kernels.interpolated_attention.tuning.files import file_name, parse
from aid_kernels.interpolated_attention.tuning.targets import target_of
from benchmarks.common import machine as machines
from benchmarks.common.settings import BenchmarkSettings, Row
from benchmarks.common.timing import Timing, measure
from benchmarks.operator.gpu import Inputs, make_inputs
from benchmarks.operator.peers import PEERS, check_sample
from benchmarks.operator.shapes import FRAMES, MODES, SHAPES, SMOKE_SHAPES, LayerShape
from benchmarks.tune import choice
from benchmarks.tune.compile import start_pool, submit
from benchmarks.tune.space import FEW, MANY, Candidate, candidates, for_many, usual

MOST_CANDIDATES, SMOKE_CANDIDATES = 20, 2
FINALISTS, REPEATS, SMOKE_REPEATS = 3, 3, 1
FIRST_MS, FINAL_MS = 15.0, 40.0  # of measuring, per candidate and round
TASK_SECONDS = 10.0  # what must be left to start on a layer

Task = tuple[str, LayerShape, int]  # mode, layer, sources
Verdicts = dict[Candidate, "Future[str | None]"]


def estimated_minutes(settings: BenchmarkSettings) -> float:
    return 0.3 if settings.smoke else 2.0


def run(settings: BenchmarkSettings) -> Iterator[Row]:
    """A row per measurement, layers by value; `choice.entries` makes a file of them."""
    frames = 4 if settings.smoke else FRAMES
    shapes = list(SMOKE_SHAPES.values())[:1] if settings.smoke else list(SHAPES.values())
    layers = [(mode, shape) for mode in MODES for shape in shapes]
    pool = start_pool() if settings.device.type == "cuda" else None
    try:
        ahead = _few(pool, *layers[0], frames, settings)
        more: Iterator[Row] = iter(())
        for place, (mode, shape) in enumerate(layers):
            if settings.expired(0 if settings.smoke else TASK_SECONDS):
                break
            # the next layer's candidates compile while this one's are measured
            chosen, verdicts = ahead
            if place + 1 < len(layers):
                ahead = _few(pool, *layers[place + 1], frames, settings)
            inputs, rows = make_inputs(shape, frames, settings), []
            for row in _tune((mode, shape, FEW), chosen, verdicts, inputs, settings):
                rows.append(row)
                yield row
            # what the layer before left to be compiled with more sources
            yield from more
            more = _with_more_sources(pool, mode, shape, chosen, rows, inputs, settings)
        yield from more
    finally:
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def _few(
    pool: ProcessPoolExecutor | None, mode: str, shape: LayerShape, frames: int, settings: BenchmarkSettings
) -> tuple[list[Candidate], Verdicts]:
    """A layer's candidates for one or two sources."""
    target, itemsize = target_of(settings.device), settings.dtype.itemsize
    chosen = candidates(mode, target, itemsize, shape.head_dim, shape.query_length, shape.key_length)
    chosen = chosen[: SMOKE_CANDIDATES if settings.smoke else MOST_CANDIDATES]
    return chosen, _compile(pool, (mode, shape, FEW), chosen, target, frames, settings)


def _with_more_sources(
    pool: ProcessPoolExecutor | None,
    mode: str,
    shape: LayerShape,
    chosen: list[Candidate],
    rows: list[Row],
    inputs: Inputs,
    settings: BenchmarkSettings,
) -> Iterator[Row]:
    """Starts compiling what fits to the layer's winner, in the same order of sums; the rows come when asked for."""
    best = choice.choose(rows)
    if best is None or mode == "inner":
        return iter(())
    winner = next(one for one in chosen if dict(choice.config_of(one.row())) == best["config"])
    task, frames = (mode, shape, MANY), len(inputs.plan)
    verdicts = _compile(pool, task, for_many(winner), target_of(settings.device), frames, settings)
    several = Inputs(inputs.sets, _plan_of_many(frames, settings.device))
    return _tune(task, for_many(winner), verdicts, several, settings)


def _compile(
    pool: ProcessPoolExecutor | None,
    task: Task,
    chosen: list[Candidate],
    target: str,
    frames: int,
    settings: BenchmarkSettings,
) -> Verdicts:
    """What will tell whether a candidate compiles; nothing where kernels are interpreted."""
    if pool is None:
        return {}
    mode, shape, sources = task
    dtype = str(settings.dtype).removeprefix("torch.")
    return submit(pool, mode, target, shape, dtype, frames, sources, chosen)


def _tune(
    task: Task, chosen: list[Candidate], verdicts: Verdicts, inputs: Inputs, settings: BenchmarkSettings
) -> Iterator[Row]:
    """Rows of the first round, one per candidate, and of the final one."""
    mode, shape, sources = task
    target, itemsize = target_of(settings.device), settings.dtype.itemsize
    first_of_all = usual(mode, target, itemsize, shape.head_dim, shape.query_length, shape.key_length, sources)
    base = {"part": "tune", "shape": shape.name, "mode": mode, "m": len(inputs.plan), "heads": shape.heads}
    base |= {"dtype": str(settings.dtype).removeprefix("torch."), "head_dim": shape.head_dim, "masked": False}
    base |= {"query_length": shape.query_length, "key_length": shape.key_length, "sources": sources}

    def row(candidate: Candidate, stage: str) -> Row:
        return base | {"peer": "usual" if candidate == first_of_all else "candidate", "round": stage} | candidate.row()

    def timed(candidate: Candidate, milliseconds: float) -> Timing:
        def call(place: int) -> Tensor:
            return _attend(mode, candidate, inputs, place)

        return measure(call, len(inputs.sets), settings.device, milliseconds)

    def stock(place: int) -> Tensor:
        return PEERS[mode]["sdpa"](*inputs.sets[place], inputs.plan, True)

    times: dict[Candidate, float] = {}
    for candidate in chosen:
        if settings.expired():
            return
        problem = None
        try:
            if candidate in verdicts:
                problem = verdicts[candidate].result(max(1.0, settings.time_left()))
            if problem is None:
                check_sample(mode, _attend(mode, candidate, inputs, 0), *inputs.sets[0], inputs.plan)
                timing = timed(candidate, FIRST_MS)
        except Exception as error:  # noqa: BLE001 - a candidate may fail in any way; the row says how
            problem = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if problem is not None:
            yield row(candidate, "first") | {"problem": problem}
            continue
        times[candidate] = timing.median_ms
        yield row(candidate, "first") | timing.row()
    finalists = sorted(times, key=lambda candidate: times[candidate])[:FINALISTS]
    finalists += [one for one in times if one == first_of_all and one not in finalists]
    repeats = SMOKE_REPEATS if settings.smoke else REPEATS
    for _ in range(repeats if finalists else 0):
        if settings.expired():
            return
        for candidate in finalists:
            yield row(candidate, "final") | timed(candidate, FINAL_MS).row()
        timing = measure(stock, len(inputs.sets), settings.device, FINAL_MS)
        yield base | {"peer": "sdpa", "round": "final"} | timing.row()


def _attend(mode: str, candidate: Candidate, inputs: Inputs, place: int) -> Tensor:
    from aid_kernels.interpolated_attention.impl.triton.forward import attend

    query, key, value = inputs.sets[place]
    call = AttentionInputs(query, key, value, key, value, None, None, inputs.plan, True, query.shape[3] ** -0.5)
    return attend(mode, call, candidate.setting, candidate.mix)


def _plan_of_many(frames: int, device: torch.device) -> InterpolationPlan:
    """Three endpoints first, then rows that mix all of them."""
    weights = torch.tensor([0.5, 0.25, 0.25]).expand(frames, MANY).clone()
    weights[:MANY] = torch.eye(MANY)
    return InterpolationPlan.barycentric(weights, device=device)


def write(folder: Path, rows: list[Row], machine: dict[str, str], settings: BenchmarkSettings) -> Path | None:
    """`<gpu>.json`, with the old file's entries for layers not measured again; None where there is nothing to say."""
    gpu = machines.result_name(settings.device)
    entries: list[dict[str, Any]] = [entry | {"commit": machine["commit"]} for entry in choice.entries(rows)]
    path = folder / file_name(gpu)
    if not entries:
        return None
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        parse(old, str(path), smoke=settings.smoke)
        entries = choice.merge(old["entries"], entries)
    content = choice.file_content(gpu, entries, machine, smoke=settings.smoke)
    parse(content, str(path), smoke=settings.smoke)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path

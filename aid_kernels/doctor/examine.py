"""Examination of a machine: every shape measured as `auto` would, beside stock PyTorch, within a limit of time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..constants import INTERPRET_VARIABLE
from ..interpolated_attention import auto
from ..interpolated_attention.checks import checked_inputs
from ..interpolated_attention.inputs import AttentionInputs
from ..interpolated_attention.running import run_choice
from ..interpolated_attention.tuning.candidates import stock_candidates
from ..interpolated_attention.tuning.choice import CallBucket, Choice
from ..interpolated_attention.tuning.clocks import clock_for
from ..interpolated_attention.tuning.measure import BUDGET_MS, LEAST_NOISE, Measurement, first_heads
from ..interpolated_attention.tuning.routes import sdpa_route
from ..interpolated_attention.tuning.settled import cache_for, forget
from ..plan import InterpolationPlan
from ..version import __version__
from .shapes import Shape

# seconds after which no further shape is begun
DEADLINE = 100.0
# frames, and milliseconds that a shape may take once its candidates are compiled; on the CPU heads are left out to fit
FRAMES = {"cpu": 3}
FRAMES_ELSE = 7
BUDGETS = {"cpu": 250.0}
# products of a query and a key that all heads of a shape come to at most
MOST_LOGITS = {"cpu": 2**24}
STOCK_ROUNDS = 9
Times = dict[Choice | None, float]
# on the CPU every shape is timed again in so many visits, far apart and in turn, begun within so many seconds: what
# else runs on a machine lasts for seconds, and only adds to a time
VISITS, VISITING, VISIT_MS = 6, 90.0, 60.0


@dataclass(frozen=True)
class Row:
    """One shape in one mode.

    Attributes:
        measurement: of the candidates; None where nothing could be compared.
        stock_ms: stock PyTorch on the same heads: concatenated keys, one SDPA a source, all rows alike.
        seconds: that it took, compilation included.
        over_stock: how much faster than stock PyTorch each candidate was, the median of calls next to each other.
    """

    shape: Shape
    mode: str
    dtype: str
    measurement: Measurement | None
    stock_ms: float | None
    seconds: float
    over_stock: tuple[tuple[Choice, float], ...] = ()


@dataclass
class Examination:
    """What was found.

    Attributes:
        machine: what measurements are kept under.
        unsupported: why Triton serves nothing here; empty: it does.
        rows: measured shapes.
        unreached: shapes that the time did not suffice for.
        said: warnings on the way.
        folder: where choices are kept.
    """

    machine: dict[str, Any]
    unsupported: list[str]
    rows: list[Row] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    folder: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {"format": 1, "aid-kernels": __version__, **asdict(self)}


def examine(
    shapes: Iterable[Shape],
    device: torch.device,
    dtype: torch.dtype,
    *,
    deadline: float = DEADLINE,
    say: Callable[[str], None] = lambda line: None,
) -> Examination:
    """Measure shapes and keep what is fastest; a measurement from earlier is replaced.

    Args:
        say: told of every shape before it is measured.
    """
    began = time.monotonic()
    listener = _Listener()
    logger = logging.getLogger("aid_kernels")
    logger.addHandler(listener)
    probe = _inputs(Shape("probe", 1, 16, 16, 16), device, dtype)
    where = auto.bucket_of("outer", probe).device
    cache = cache_for(where)
    reasons = auto.why_not_triton(probe)
    found = Examination(cache.identity, reasons, folder=str(cache.folder))
    if where == "cpu":
        found.unsupported = found.unsupported or [f"{INTERPRET_VARIABLE}=1 is for tests"]
    try:
        for shape in shapes:
            for mode in shape.modes:
                name = f"{shape.layer}, {mode}"
                if time.monotonic() - began > deadline:
                    found.unreached.append(name)
                    continue
                say(name)
                found.rows.append(_row(shape, mode, device, dtype, bool(found.unsupported)))
        if where == "cpu":
            _visit(found.rows, device, dtype, lambda: time.monotonic() - began < min(VISITING, deadline), say)
            for row in found.rows:
                _keep(row, device, dtype)
    finally:
        logger.removeHandler(listener)
        forget()
    found.said = listener.lines
    found.seconds = time.monotonic() - began
    return found


def _row(shape: Shape, mode: str, device: torch.device, dtype: torch.dtype, stock_alone: bool) -> Row:
    began = time.monotonic()
    inputs = _inputs(shape, device, dtype)
    bucket = auto.bucket_of(mode, inputs)
    cache = cache_for(bucket.device)
    choices = _stock_choices(bucket, inputs) if stock_alone else None
    measurement = auto.measure_call(bucket, inputs, cache, BUDGETS.get(device.type, BUDGET_MS), choices)
    stock_ms = None
    if measurement is not None:
        cache.store(bucket, measurement, replace=True)
        stock_ms = _stock_time(_stock_call(mode, inputs, measurement.heads), device)
    return Row(shape, mode, str(dtype).removeprefix("torch."), measurement, stock_ms, time.monotonic() - began)


def _visit(
    rows: list[Row], device: torch.device, dtype: torch.dtype, in_time: Callable[[], bool], say: Callable[[str], None]
) -> None:
    """Time what passed and stock PyTorch again, all shapes in turn."""
    rounds: dict[int, list[Times]] = {}
    for visit in range(VISITS):
        for place, row in enumerate(rows):
            if row.measurement is not None and in_time():
                say(f"{row.shape.layer}, {row.mode}, again ({visit + 1} of {VISITS})")
                rounds.setdefault(place, []).extend(_rounds(row, row.measurement, device, dtype))
    for place, times in rounds.items():
        rows[place] = _improved(rows[place], times)


def _rounds(row: Row, measurement: Measurement, device: torch.device, dtype: torch.dtype) -> list[Times]:
    """Milliseconds of every candidate that passed and of stock PyTorch (None), one after the other, some times."""
    clock, inputs = clock_for(device), _inputs(row.shape, device, dtype)
    part = first_heads(inputs, measurement.heads)
    passed = [each.choice for each in measurement.outcomes if each.fault is None]
    calls: dict[Choice | None, Callable[[], object]] = {
        choice: partial(run_choice, row.mode, choice, part) for choice in passed
    }
    calls[None] = _stock_call(row.mode, inputs, measurement.heads)
    rounds: list[Times] = []
    spent = 0.0
    with torch.no_grad(), suppress(torch.OutOfMemoryError):
        while spent < VISIT_MS:
            rounds.append({choice: max(clock.time(call), 1e-3) for choice, call in calls.items()})
            spent += sum(rounds[-1].values())
    # the first round finds the memory cold where it is not the only one
    return rounds[1:] or rounds


def _improved(row: Row, rounds: list[Times]) -> Row:
    """The row with its least times; the standard candidate, which comes first, stays within the noise."""
    measurement = row.measurement
    if measurement is None or not rounds:
        return row
    times = {choice: min(each[choice] for each in rounds) for choice in rounds[0]}
    over = tuple(
        (choice, median(each[None] / each[choice] for each in rounds)) for choice in times if choice is not None
    )
    outcomes = tuple(
        replace(each, milliseconds=min(each.milliseconds, times.get(each.choice, each.milliseconds)))
        if each.milliseconds is not None
        else each
        for each in measurement.outcomes
    )
    timed = {each.choice: each.milliseconds for each in outcomes if each.milliseconds is not None}
    choice = min(timed, key=lambda choice: timed[choice], default=measurement.choice)
    standard = outcomes[0].choice
    if standard in timed and timed[choice] >= timed[standard] * (1 - LEAST_NOISE):
        choice = standard
    stock_ms = row.stock_ms if row.stock_ms is None else min(row.stock_ms, times.get(None, row.stock_ms))
    measurement = replace(measurement, choice=choice, outcomes=outcomes)
    return replace(row, measurement=measurement, stock_ms=stock_ms, over_stock=over)


def _keep(row: Row, device: torch.device, dtype: torch.dtype) -> None:
    if row.measurement is not None:
        bucket = auto.bucket_of(row.mode, _inputs(row.shape, device, dtype))
        cache_for(bucket.device).store(bucket, row.measurement, replace=True)


def _stock_choices(bucket: CallBucket, inputs: AttentionInputs) -> list[Choice]:
    return stock_candidates(bucket, sdpa_route(bucket.mode, inputs))


def _inputs(shape: Shape, device: torch.device, dtype: torch.dtype) -> AttentionInputs:
    """A call as diffusers makes it: (m, S, H, D) transposed, random normal values."""
    frames = FRAMES.get(device.type, FRAMES_ELSE)
    most = MOST_LOGITS.get(device.type, 2**62) // (shape.query_length * shape.key_length)
    heads = max(1, min(shape.heads, most))
    generator = torch.Generator().manual_seed(0)

    def draw(length: int) -> Tensor:
        drawn = torch.randn(frames, length, heads, shape.head_dim, generator=generator)
        return drawn.to(device, dtype).transpose(1, 2)

    query, key, value = draw(shape.query_length), draw(shape.key_length), draw(shape.key_length)
    plan = InterpolationPlan.sequence(torch.linspace(0, 1, frames), device=device)
    return checked_inputs(query, key, value, plan, True, None, None, None, None)


def _stock_call(mode: str, inputs: AttentionInputs, heads: int) -> Callable[[], Tensor]:
    """A call of stock PyTorch on so many heads."""
    query, key, value = (tensor[:, :heads] for tensor in inputs[:3])
    t = torch.linspace(0, 1, len(query), device=query.device, dtype=query.dtype)[:, None, None, None]

    def attend(keys: Tensor, values: Tensor) -> Tensor:
        joined = torch.cat([keys.expand_as(key), key], dim=2), torch.cat([values.expand_as(value), value], dim=2)
        return F.scaled_dot_product_attention(query, *joined, scale=inputs.scale)

    def call() -> Tensor:
        if mode == "outer":
            return torch.lerp(attend(key[:1], value[:1]), attend(key[-1:], value[-1:]), t)
        return attend(torch.lerp(key[:1], key[-1:], t), torch.lerp(value[:1], value[-1:], t))

    return call


def _stock_time(call: Callable[[], object], device: torch.device) -> float | None:
    """Its milliseconds; None where it runs out of memory."""
    clock = clock_for(device)
    with suppress(torch.OutOfMemoryError), torch.no_grad():
        times = [clock.time(call) for _ in range(STOCK_ROUNDS)]
        return clock.typical(times[1:])
    return None


class _Listener(logging.Handler):
    """Keeps the package's warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

"""In-order estimate of a loop: every warp of the resident programs issues its instructions as ptxas scheduled them.

Obeyed: stall counts, scoreboards, rates of the pipes, barriers, asynchronous matrix products and copies. Assumed:
the latencies below. Not modelled: the clock under load, conflicts in shared memory, what other multiprocessors ask of
the second-level cache. So an estimate says which of two loops is better, not how fast either is.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.compile_report.chips import Chip
from benchmarks.compile_report.machine_code import NO_SCOREBOARD, Instruction
from benchmarks.compile_report.pipes import ALU, SCHEDULERS, SHARED_BYTES, exp2_cycles, fma_cycles, tensor_cycles

# targets whose matrix instructions say what they do and when they are done
PLAYED = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_120")
# cycles from the issue of an instruction to its result
LATENCY = {
    "MUFU": 22,
    "SHFL": 24,
    "LDS": 30,
    "LDSM": 33,
    "STS": 20,
    "STSM": 20,
    "LDG": 300,
    "LDC": 40,
    "LDCU": 40,
    "HMMA": 33,
}
USUAL_LATENCY = 24
COPY_LATENCY = 280  # of an asynchronous copy that hits the second-level cache
COPY_BYTES = 64  # that a multiprocessor gets of that cache in a cycle, while others are between their bursts
BARRIER = 24
FENCE = 20
HGMMA_TAIL = 24  # from the last product to the accumulator
HGMMA_QUEUE = 2  # that a scheduler takes before the warp waits
APART = 400  # cycles between the first instructions of two programs
ROUNDS = 7
# of the first rounds, while pipelines fill
WARM = 2
_HMMA_REGISTERS = 4


@dataclass
class _Warp:
    program: int
    place: int = 0
    round: int = 0
    scoreboards: list[float] = field(default_factory=lambda: [0.0] * 8)
    products: list[float] = field(default_factory=list)  # when each committed group of HGMMA is done
    open_products: float = 0.0
    copies: list[float] = field(default_factory=list)  # when each committed group of copies is done
    open_copies: float = 0.0
    registers: dict[str, float] = field(default_factory=dict)  # when HMMA's results are there
    marks: list[float] = field(default_factory=list)


@dataclass
class _Scheduler:
    free: dict[str, float] = field(default_factory=dict)
    queue: list[float] = field(default_factory=list)


class _Step(NamedTuple):
    """An instruction, and what the machine asks of it each time."""

    item: Instruction
    pipe: str  # whose rate it takes, "" for none
    cycles: float
    registers: tuple[str, ...]
    keep: int  # groups a wait may leave unfinished, -1 for no wait


class _Machine:
    """A multiprocessor that runs one loop."""

    def __init__(self, body: Sequence[Instruction], chip: Chip, warps: int, programs: int) -> None:
        self.steps = [_step(item, chip) for item in body]
        self.warps_of_program = warps
        self.warps = [_Warp(program=index // warps) for index in range(warps * programs)]
        self.schedulers = [_Scheduler() for _ in range(SCHEDULERS)]
        self.shared = self.second_level = 0.0
        self.barriers: dict[tuple[int, ...], list[int]] = {}
        self.ready: list[tuple[float, int]] = [(float(warp.program * APART), i) for i, warp in enumerate(self.warps)]

    def run(self) -> None:
        heapq.heapify(self.ready)
        while self.ready:
            now, index = heapq.heappop(self.ready)
            warp = self.warps[index]
            step = self.steps[warp.place]
            unit = self.schedulers[index % SCHEDULERS]
            start = self._start(warp, unit, step)
            if start > now:
                heapq.heappush(self.ready, (start, index))
                continue
            self._issue(index, warp, unit, step, now)

    def _start(self, warp: _Warp, unit: _Scheduler, step: _Step) -> float:
        """The first cycle at which nothing that is known now holds the instruction back."""
        item = step.item
        times = [unit.free.get("issue", 0.0)]
        times += [warp.scoreboards[bit] for bit in range(6) if item.waits_for >> bit & 1]
        if item.predicate == "@!PT":
            return max(times)
        if step.pipe:
            times.append(unit.free.get(step.pipe, 0.0))
        times += [warp.registers[name] for name in step.registers if name in warp.registers]
        if item.base == "HGMMA" and len(unit.queue) >= HGMMA_QUEUE:
            times.append(unit.queue[-HGMMA_QUEUE])
        if step.keep >= 0:
            groups = warp.products if item.base == "WARPGROUP" else warp.copies
            times += groups[: len(groups) - step.keep]
        return max(times)

    def _issue(self, index: int, warp: _Warp, unit: _Scheduler, step: _Step, now: float) -> None:
        item = step.item
        unit.free["issue"] = now + 1
        done = now + LATENCY.get(item.base, USUAL_LATENCY if item.pipe in ("memory", "exp2", "sync") else 0)
        following = now + max(1, item.stall)
        if item.predicate != "@!PT":
            if step.pipe:
                unit.free[step.pipe] = now + step.cycles
            if item.pipe == "tensor":
                self._multiply(warp, unit, step, now)
            elif item.shared_bytes:
                done = self._move(warp, item, now, done)
            elif item.base == "LDGDEPBAR":
                warp.copies = [*warp.copies[-8:], max(warp.open_copies, now)]
                warp.open_copies = 0.0
            elif item.base in ("MEMBAR", "FENCE"):
                following = now + FENCE
        for scoreboard in (item.sets_written, item.sets_read):
            if scoreboard != NO_SCOREBOARD:
                warp.scoreboards[scoreboard] = max(warp.scoreboards[scoreboard], done, now + 2)
        warp.place += 1
        if warp.place == len(self.steps):
            warp.place, warp.round = 0, warp.round + 1
            warp.marks.append(now)
            if warp.round == ROUNDS:
                return
        if item.base == "BAR" and "ARV" not in item.name:
            self._meet(index, (item.address, warp.round, warp.program), now)
        else:
            heapq.heappush(self.ready, (following, index))

    def _multiply(self, warp: _Warp, unit: _Scheduler, step: _Step, now: float) -> None:
        end = max(now, unit.free.get("tensor", 0.0)) + step.cycles
        unit.free["tensor"] = end
        if step.item.base == "HMMA":
            first = int(step.registers[0])
            warp.registers |= {str(first + i): now + LATENCY["HMMA"] for i in range(_HMMA_REGISTERS)}
            return
        unit.queue = [*unit.queue[-HGMMA_QUEUE:], end]
        warp.open_products = end + HGMMA_TAIL
        if "gsb0" in step.item.text:
            warp.products = [*warp.products[-8:], warp.open_products]

    def _move(self, warp: _Warp, item: Instruction, now: float, done: float) -> float:
        """Through shared memory, one instruction after the other; copies come from the second-level cache before."""
        begin = max(now, self.shared)
        self.shared = begin + max(1.0, item.shared_bytes / SHARED_BYTES)
        if item.base == "LDGSTS":
            self.second_level = max(self.second_level, begin) + item.shared_bytes / COPY_BYTES
            warp.open_copies = self.second_level + COPY_LATENCY
        return done + self.shared - now

    def _meet(self, index: int, barrier: tuple[int, ...], now: float) -> None:
        here = self.barriers.setdefault(barrier, [])
        here.append(index)
        if len(here) == self.warps_of_program:
            for other in self.barriers.pop(barrier):
                heapq.heappush(self.ready, (now + BARRIER, other))


def estimate(body: Sequence[Instruction], chip: Chip, warps: int, programs: int) -> float:
    """Cycles of an iteration of one program, with `programs` of `warps` warps resident: steady state, per program."""
    machine = _Machine(body, chip, warps, programs)
    machine.run()
    spans = [(warp.marks[-1] - warp.marks[WARM - 1]) / (ROUNDS - WARM) for warp in machine.warps]
    return sum(spans) / len(spans) / programs


def _step(item: Instruction, chip: Chip) -> _Step:
    rates = {"fma": fma_cycles(chip), "exp2": exp2_cycles(chip), "integer_multiply": 2.0, "uniform": 2.0}
    rates |= dict.fromkeys(("maximum", "convert", "integer"), float(ALU))
    pipe, cycles = item.pipe, rates.get(item.pipe, 0.0)
    if pipe in ("maximum", "convert", "integer"):
        pipe = "alu"
    if item.base == "HMMA":
        pipe = "tensor"
    elif item.pipe not in rates:
        pipe = ""
    if item.pipe == "tensor":
        cycles = tensor_cycles(item, chip)
    reads = item.base == "HMMA" or item.pipe in rates
    registers = tuple(re.findall(r"\bR(\d+)", item.text)) if reads else ()
    keep = -1
    if item.base in ("WARPGROUP", "DEPBAR") and "DEPBAR" in item.name:
        last = item.text.split(",")[-1].strip() if "," in item.text else "0x0"
        keep = int(last, 16) if last.startswith("0x") else 0
    return _Step(item, pipe, cycles, registers, keep)

"""Loops of the compiled kernels: pipe counts, estimates, waits and barriers, and what a change of them must not add.

loops.csv holds one line per loop. A main loop is one that takes as many keys at once as any of its kernel does.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from aid_kernels.interpolated_attention.tuning.tile_sizes import Tiles
from benchmarks.compile_report.chips import CHIPS, Chip
from benchmarks.compile_report.in_order import PLAYED, estimate
from benchmarks.compile_report.machine_code import Instruction, disassemble, inner_loops
from benchmarks.compile_report.pipes import count

# this many HGMMA that are each waited for alone: ptxas gave up on running them in the background
SERIALISED = 3
# what a main loop must not gain
GUARDED = ("waits", "local_accesses", "lone_waits")


@dataclass(frozen=True)
class Loop:
    """One innermost loop with matrix instructions; cycles of a multiprocessor for one iteration of one program.

    Attributes:
        keys: of an iteration; 0: the machine code does not tell (Blackwell's matrix instructions).
        programs: resident together.
        instructions: of a warp.
        tensor, exp2, fma, alu, issue, shared, l2, ideal, serial: as in `Pipes`; 0 for a target that no chip of the
            table stands for.
        in_order: `in_order.estimate`; 0 where it is not played.
        waits: for matrix products.
        lone_waits: those of them after a single HGMMA.
        load_waits: for asynchronous copies.
        barriers: of all warps of a program.
        copies: asynchronous, from memory to shared memory.
        loads: from memory through registers.
        local_accesses: to spilled registers.
    """

    keys: int
    programs: int
    instructions: int
    tensor: int
    exp2: int
    fma: int
    alu: int
    issue: int
    shared: int
    l2: int
    ideal: int
    serial: int
    in_order: int
    waits: int
    lone_waits: int
    load_waits: int
    barriers: int
    copies: int
    loads: int
    local_accesses: int


@dataclass(frozen=True)
class LoopLine:
    """A line of loops.csv: a loop, of which specialisation, and its number there from 1 on."""

    target: str
    kernel: str
    dtype: str
    head_dim: int
    loop: int
    counts: Loop

    def cells(self) -> dict[str, Any]:
        cells = asdict(self)
        return cells | cells.pop("counts")


Key = tuple[str, str, str, int]
"""Target, kernel, dtype and head_dim of a specialisation."""


def read_loops(cubin: bytes, target: str, tiles: Tiles, warps: int, programs: int, itemsize: int) -> list[Loop]:
    """Every innermost loop of a compiled attention kernel."""
    chip = next((chip for chip in CHIPS if chip.target == target), None)
    return [_loop(body, target, chip, tiles, warps, programs, itemsize) for body in inner_loops(disassemble(cubin))]


def main_loops(loops: Sequence[Loop]) -> list[Loop]:
    most = max((loop.keys for loop in loops), default=0)
    return [loop for loop in loops if loop.keys == most]


def problems(loops: Sequence[Loop], recorded: Sequence[Loop]) -> list[str]:
    """What is wrong with a kernel's main loops by themselves, and what they gained over the recorded ones."""
    found = []
    now, before = main_loops(loops), main_loops(recorded)
    if any(loop.lone_waits >= SERIALISED for loop in now):
        found.append("HGMMA are serialised")
    for name in GUARDED if before else ():
        most, least = (max(getattr(loop, name) for loop in each) for each in (now, before)) if now else (0, 0)
        if most > least:
            found.append(f"a main loop has {most} {name.replace('_', ' ')}, {least} are recorded")
    return found


def write_loops(lines: Iterable[LoopLine], path: Path) -> None:
    names = [field.name for field in fields(LoopLine) if field.name != "counts"]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, names + [field.name for field in fields(Loop)], lineterminator="\n")
        table.writeheader()
        table.writerows(line.cells() for line in lines)


def recorded_loops(path: Path) -> dict[Key, list[Loop]]:
    """Loops of every specialisation of a loops.csv; none where there is no such file."""
    found: dict[Key, list[Loop]] = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                key = line["target"], line["kernel"], line["dtype"], int(line["head_dim"])
                found.setdefault(key, []).append(Loop(**{field.name: int(line[field.name]) for field in fields(Loop)}))
    return found


def _loop(
    body: Sequence[Instruction], target: str, chip: Chip | None, tiles: Tiles, warps: int, programs: int, itemsize: int
) -> Loop:
    width = tiles.key_main + tiles.key_rest + tiles.value_main + tiles.value_rest
    # a warp's share of an HGMMA is a quarter of it
    done = sum(
        2 * m * n * k * warps / (4 if item.base == "HGMMA" else 1)
        for item in body
        if item.pipe == "tensor"
        for m, n, k in [item.shape]
    )
    keys = round(done / (2 * tiles.block_m * width))
    cycles = dict.fromkeys(("tensor", "exp2", "fma", "alu", "issue", "shared", "l2", "ideal", "serial", "in_order"), 0)
    if chip is not None:
        taken = keys or tiles.block_n
        loaded = taken * (tiles.head_dim + tiles.value_dim) * itemsize
        pipes = count(body, chip, warps, 2 * tiles.block_m * taken * width, loaded)
        cycles |= {name: round(getattr(pipes, name)) for name in cycles if name != "in_order"}
        if target in PLAYED:
            cycles["in_order"] = round(estimate(body, chip, warps, programs))
    return Loop(
        keys=keys,
        programs=programs,
        instructions=len(body),
        **cycles,
        **_waits(body),
        barriers=_count(body, "BAR"),
        copies=_count(body, "LDGSTS"),
        loads=_count(body, "LDG"),
        local_accesses=_count(body, "LDL", "STL"),
    )


def _waits(body: Sequence[Instruction]) -> dict[str, int]:
    waits = lone = load_waits = since = 0
    for item in body:
        if item.base == "HGMMA":
            since += 1
        elif item.base == "WARPGROUP" and "DEPBAR" in item.name:
            waits, lone, since = waits + 1, lone + (since == 1), 0
        elif item.base == "SYNCS" and "TRYWAIT" in item.name:
            waits += 1
        elif item.base == "DEPBAR":
            load_waits += 1
    return {"waits": waits, "lone_waits": lone, "load_waits": load_waits}


def _count(body: Sequence[Instruction], *bases: str) -> int:
    return sum(item.base in bases and item.predicate != "@!PT" for item in body)

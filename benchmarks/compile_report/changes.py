"""`python -m benchmarks.compile_report.changes`: what each change of the kernel did to its machine code.

Compiles the kernel for Hopper as it was configured before a change and as it is, without a GPU, and writes changes.md:
cycles by the in-order estimate, which is a model, and the check, which is a count of the machine code.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from aid_kernels.interpolated_attention.tuning.tile_sizes import LaunchConfig, Tiles
from benchmarks.common import result_files
from benchmarks.compile_report.loop_cycles import segment_cycles
from benchmarks.compile_report.loops import Loop, main_loops, problems, read_loops
from benchmarks.compile_report.machine_code import Instruction, disassemble
from benchmarks.compile_report.specialisations import HOPPER, MANY, PROMPT, Specialisation, make_launch

RESULTS = result_files.RESULTS / "compile_report" / "changes.md"
BLOCK = 128  # queries whose cycles are compared
MULTIPROCESSORS = 132
ROWS, HEADS = 7, 8  # of the grids that are counted
BLACKWELL = "sm_100"
FEW_EXPONENTIALS = 8  # of a loop that rescales alone


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a kernel, how it is launched (None: as shipped), constants of its tiles that differ.

    `recorded`: registers and loops of code that is gone, taken from what this report said of it.
    """

    case: Specialisation
    config: LaunchConfig | None = None
    tiles: tuple[tuple[str, Any], ...] = ()
    recorded: tuple[int, tuple[Loop, ...]] | None = None


@dataclass(frozen=True)
class Change:
    """A change, its two sides, keys of a segment, segments of a row, and what its check is."""

    what: str
    before: Side
    after: Side
    keys: int
    segments: int
    check: str


@dataclass(frozen=True)
class Found:
    """What one side compiled to."""

    loops: list[Loop]
    tiles: Tiles
    registers: int
    spilled: int
    split: str = ""  # of Blackwell alone: how the loops' work is split among warps


def _outer(
    dim: int, keys: int = 0, queries: int = 1001, *, sources: int = 2, masked: bool = False, target: str = HOPPER
) -> Specialisation:
    return Specialisation(target, "outer", "bfloat16", dim, sources, masked, keys, queries)


def _inner(mode: str, dim: int, keys: int = 0) -> Specialisation:
    return Specialisation(HOPPER, mode, "bfloat16", dim, 2, False, keys)


def _bytes(case: Specialisation, block_n: int, registers: int, *loops: tuple[int, ...]) -> Side:
    """The kernel when every thread loaded a byte of the mask for each of its keys."""
    recorded = registers, tuple(Loop(*loop) for loop in loops)
    return Side(case, tiles=(("block_n", block_n),), recorded=recorded)


# how the lines were before any change: tails of 16 keys, no loop for short segments
_TAILS = (("tail", 16), ("short", False))
_TWO_STAGES = LaunchConfig(128, 128, 8, 2)
_FEWER = "one loop a segment, copies and no loads, two programs"
CHANGES = (
    *(
        Change(f"1. short keys, D={dim}", Side(_outer(dim, PROMPT), _TWO_STAGES, _TAILS), Side(_outer(dim, PROMPT)),
               PROMPT, 3, _FEWER)
        for dim in (40, 64)
    ),
    Change("1. short keys, D=80", Side(_outer(80, PROMPT), LaunchConfig(128, 64, 8, 3), _TAILS),
           Side(_outer(80, PROMPT)), PROMPT, 3, "one loop a segment, copies and no loads"),
    *(
        Change(f"2. three stages, D={dim}", Side(_outer(dim), replace(_TWO_STAGES, block_n=keys), _TAILS[:1]),
               Side(_outer(dim)), keys, 3, "no wait more, no spill")
        for dim, keys in ((40, 128), (64, 128), (160, 32))
    ),
    Change("4. registers that serialise, D=64", Side(_outer(64), LaunchConfig(128, 64, 8, 3)),
           Side(_outer(64), LaunchConfig(128, 64, 8, 3, pad=True, registers=128)), 64, 3,
           "after is refused by the report"),
    Change("5. inner, 77 keys mixed before, D=64", Side(_inner("inner_fused", 64, PROMPT), _TWO_STAGES, _TAILS),
           Side(_inner("inner_premixed", 64, PROMPT)), PROMPT, 2, "copies and no loads; a launch for the mix beside"),
    Change("5b. tails of 32, D=64", Side(_outer(64), tiles=_TAILS[:1]), Side(_outer(64)), 333, 3, "no wait more"),
    Change("6. inner's own line, D=64", Side(_inner("inner_premixed", 64), _TWO_STAGES, _TAILS[:1]),
           Side(_inner("inner_premixed", 64)), 128, 2, "two programs, no spill"),
    Change("7. few queries, D=160", Side(_outer(160, queries=256), LaunchConfig(128, 32, 8, 3)),
           Side(_outer(160, queries=256)), 256, 3, "programs >= 132 multiprocessors"),
    Change("8. loops split among warps, sm_100, D=64", Side(_outer(64, target=BLACKWELL)),
           Side(_outer(64, target=BLACKWELL), LaunchConfig(128, 64, 8, 2, pad=True, descriptors=True)), 1024, 3,
           "setmaxnreg, more threads than 32 x warps, no accumulator in the loop of the exponentials"),
    Change("Masks as bits, D=64",
           _bytes(_outer(64, masked=True), 64, 212,
                  (64, 1, 426, 512, 544, 288, 652, 852, 512, 720, 852, 1436, 2225, 1, 0, 1, 3, 4, 18, 0),
                  (32, 1, 255, 320, 288, 188, 328, 510, 320, 360, 510, 870, 2068, 2, 0, 0, 4, 0, 11, 0)),
           Side(_outer(64, masked=True)), 1024, 3, "no loads in the main loop"),
    Change("Masks as bits, D=128",
           _bytes(_outer(128, masked=True), 32, 220,
                  (32, 1, 356, 640, 288, 280, 412, 712, 640, 720, 712, 1392, 2100, 1, 0, 1, 3, 4, 10, 0),
                  (16, 1, 249, 448, 160, 216, 204, 498, 448, 360, 498, 970, 2098, 2, 1, 0, 4, 0, 7, 0)),
           Side(_outer(128, masked=True)), 1024, 3, "no loads in the main loop, blocks of 64"),
    Change("Masks as bits, short keys, D=64",
           _bytes(_outer(64, PROMPT, masked=True), 16, 115,
                  (16, 2, 223, 224, 160, 160, 220, 446, 224, 180, 446, 694, 761, 1, 0, 1, 3, 2, 5, 0)),
           Side(_outer(64, PROMPT, masked=True)), PROMPT, 3, "no loads, blocks of 32, two programs"),
    Change("Masks as bits, short keys, D=64, any J",
           _bytes(_outer(64, PROMPT, masked=True, sources=MANY), 16, 194,
                  (16, 1, 218, 224, 160, 168, 224, 436, 224, 180, 436, 684, 1552, 1, 0, 1, 3, 2, 5, 0)),
           Side(_outer(64, PROMPT, masked=True, sources=MANY)), PROMPT, 3, "no loads, blocks of 32"),
)  # fmt: skip


def compile_side(side: Side) -> Found:
    from benchmarks.compile_report.compiled_kernel import compile_launch, read_resources

    launch = make_launch(side.case, side.config)
    launch.constants["TILES"] = tiles = replace(launch.constants["TILES"], **dict(side.tiles))
    if side.recorded is not None:
        registers, recorded = side.recorded
        return Found(list(recorded), tiles, registers, 0)
    compiled = compile_launch(launch, side.case.target)
    found = read_resources(compiled, side.case.target)
    loops = read_loops(
        compiled.asm["cubin"], side.case.target, tiles, launch.options["num_warps"], found.programs, itemsize=2
    )
    split = _split(compiled) if side.case.target == BLACKWELL else ""
    return Found(loops, tiles, found.registers, found.spilled, split)


def _split(compiled: Any) -> str:
    """Threads, changes of a warp's registers, and what the innermost loop with most exponentials does besides."""
    ptx, code = compiled.asm["ptx"], disassemble(compiled.asm["cubin"])
    loops = [
        [item for item in code if (end.branch_target or 0) <= item.address <= end.address]
        for end in code
        if end.branch_target is not None and end.branch_target < end.address
    ]
    body = min((loop for loop in loops if _of(loop, "MUFU") > FEW_EXPONENTIALS), key=len)
    threads = re.search(r"\.reqntid (\d+)", ptx)
    return (
        f"{threads[1] if threads else '?'} threads, {ptx.count('setmaxnreg')} setmaxnreg; loop of exponentials: "
        f"{len(body)} instructions, {_of(body, 'FMUL')} FMUL, {_of(body, 'UTCHMMA')} matrix products, "
        f"{_of(body, 'LDTM')} + {_of(body, 'STTM')} trips to tensor memory, {_of(body, 'BAR')} barriers"
    )


def _of(body: Sequence[Instruction], base: str) -> int:
    return sum(item.base == base for item in body)


def cycles(found: Found, change: Change) -> int:
    """Of a multiprocessor for BLOCK queries of a row and head, as if the programs of a row ran one after the other."""
    once = segment_cycles(found.loops, found.tiles, change.keys, lambda loop: loop.in_order)
    return round(change.segments * once * BLOCK / found.tiles.block_m)


def line(change: Change, before: Found, after: Found) -> str:
    cells = [change.what, f"{change.keys} keys x {change.segments}"]
    cells += [f"{cycles(found, change):,}" if not found.split else "-" for found in (before, after)]
    cells += [_counts(found, side.case.queries) for found, side in ((before, change.before), (after, change.after))]
    return "| " + " | ".join([*cells, change.check]) + " |"


def table(found: Sequence[tuple[Change, Found, Found]]) -> str:
    import triton

    head = [
        "# Changes of the kernel, before and after",
        "",
        f"Written by `python -m benchmarks.compile_report.changes`, Triton {triton.__version__}, bf16; H100 and J = 2",
        "where no other is named.",
        f"Cycles: of a multiprocessor for {BLOCK} queries, by the in-order estimate. **A model; nothing is measured.**",
        "Counts are of the machine code: loops with matrix products, the main loops' waits, barriers, copies to",
        "shared memory; loads through registers in any loop; registers, spilled bytes, resident programs; those of a",
        f"grid of {ROWS} rows and {HEADS} heads. Tried and left: pipelined tails of 32 (the main loop's HGMMA are",
        "serialised), blocks of 128 keys at D=80 (spill where sources are many) and, with masks, at D=64 (spill);",
        "loops split among warps at D=128 (spill 368 bytes). Such loops, by tensor descriptors, are a candidate that",
        "`auto` tries on sm_100 up to D=64; the compiler ignores the request where keys are read by pointers.",
        "",
        "| change | segments | cycles before | after | before | after | check |",
        "|---|---|--:|--:|---|---|---|",
    ]
    return "\n".join([*head, *(line(*each) for each in found), ""])


def _counts(found: Found, queries: int) -> str:
    if found.split:
        return f"{found.split}; {found.registers} registers, {found.spilled} spilled"
    mains = main_loops(found.loops)
    most = {name: max(getattr(loop, name) for loop in mains) for name in ("waits", "load_waits", "barriers", "copies")}
    text = f"{len(found.loops)} loops, {most['waits']} + {most['load_waits']} waits, {most['barriers']} barriers, "
    text += f"{most['copies']} copies, {max(loop.loads for loop in found.loops)} loads, {found.registers} registers, "
    text += f"{found.spilled} spilled, {mains[0].programs} resident"
    grid = ROWS * HEADS * ceil(queries / found.tiles.block_m) * found.tiles.slices
    return "; ".join([text, f"grid {grid}", *problems(found.loops, [])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--jobs", type=int, default=2, help="processes that compile")
    arguments = parser.parse_args()
    sides = [side for change in CHANGES for side in (change.before, change.after)]
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        found = pool.map(compile_side, sides, chunksize=1)
    text = table([(change, found[2 * i], found[2 * i + 1]) for i, change in enumerate(CHANGES)])
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

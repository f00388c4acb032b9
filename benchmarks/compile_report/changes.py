"""`python -m benchmarks.compile_report.changes`: what each change of the kernel did to its machine code.

Compiles the kernel for Hopper as it was configured before a change and as it is, without a GPU, and writes changes.md:
cycles by the in-order estimate, which is a model, and the check, which is a count of the machine code.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from aid_kernels.interpolated_attention.tuning.tile_sizes import LaunchConfig, Tiles
from benchmarks.common import result_files
from benchmarks.compile_report.loop_cycles import segment_cycles
from benchmarks.compile_report.loops import Loop, main_loops, problems, read_loops
from benchmarks.compile_report.specialisations import HOPPER, PROMPT, Specialisation, make_launch

RESULTS = result_files.RESULTS / "compile_report" / "changes.md"
BLOCK = 128  # queries whose cycles are compared
MULTIPROCESSORS = 132
ROWS, HEADS = 7, 8  # of the grids that are counted


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a kernel, how it is launched (None: as shipped), constants of its tiles that differ."""

    case: Specialisation
    config: LaunchConfig | None = None
    tiles: tuple[tuple[str, Any], ...] = ()


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


def _outer(dim: int, keys: int = 0, queries: int = 1001) -> Specialisation:
    return Specialisation(HOPPER, "outer", "bfloat16", dim, 2, False, keys, queries)


def _inner(mode: str, dim: int, keys: int = 0) -> Specialisation:
    return Specialisation(HOPPER, mode, "bfloat16", dim, 2, False, keys)


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
)  # fmt: skip


def compile_side(side: Side) -> Found:
    from benchmarks.compile_report.compiled_kernel import compile_launch, read_resources

    launch = make_launch(side.case, side.config)
    launch.constants["TILES"] = tiles = replace(launch.constants["TILES"], **dict(side.tiles))
    compiled = compile_launch(launch, side.case.target)
    found = read_resources(compiled, side.case.target)
    loops = read_loops(
        compiled.asm["cubin"], side.case.target, tiles, launch.options["num_warps"], found.programs, itemsize=2
    )
    return Found(loops, tiles, found.registers, found.spilled)


def cycles(found: Found, change: Change) -> int:
    """Of a multiprocessor for BLOCK queries of a row and head, as if the programs of a row ran one after the other."""
    once = segment_cycles(found.loops, found.tiles, change.keys, lambda loop: loop.in_order)
    return round(change.segments * once * BLOCK / found.tiles.block_m)


def line(change: Change, before: Found, after: Found) -> str:
    cells = [change.what, f"{change.keys} keys x {change.segments}"]
    cells += [f"{cycles(found, change):,}" for found in (before, after)]
    cells += [_counts(found, side.case.queries) for found, side in ((before, change.before), (after, change.after))]
    return "| " + " | ".join([*cells, change.check]) + " |"


def table(found: Sequence[tuple[Change, Found, Found]]) -> str:
    import triton

    head = [
        "# Changes of the kernel, before and after",
        "",
        f"Written by `python -m benchmarks.compile_report.changes`, Triton {triton.__version__}, H100, bf16, J = 2.",
        f"Cycles: of a multiprocessor for {BLOCK} queries, by the in-order estimate. **A model; nothing is measured.**",
        "Counts are of the machine code: loops with matrix products, the main loops' waits, barriers, copies to",
        "shared memory; loads through registers in any loop; registers, spilled bytes, resident programs; those of a",
        f"grid of {ROWS} rows and {HEADS} heads. Tried and left: pipelined tails of 32 (the main loop's HGMMA are",
        "serialised), blocks of 128 keys at D=80 (spill where sources are many).",
        "",
        "| change | segments | cycles before | after | before | after | check |",
        "|---|---|--:|--:|---|---|---|",
    ]
    return "\n".join([*head, *(line(*each) for each in found), ""])


def _counts(found: Found, queries: int) -> str:
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

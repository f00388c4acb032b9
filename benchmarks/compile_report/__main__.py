"""`python -m benchmarks.compile_report`: compile every shipped configuration for every GPU target, on any machine.

Writes compile_report.md and .csv: registers, spills, shared memory, matrix instructions, estimated occupancy;
loops.md and .csv: of every loop the cycles of each pipe, bounds, an estimate, waits and barriers; and sources.json,
digests of what was compiled. Exits with 1 if anything does not compile, spills, wants more shared memory than the chip
has, lacks its matrix instruction, or waits for each of them alone; with --quick also if a main loop waits more often or
spills more than the committed loops.csv says.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import sys
import time
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

from aid_kernels.interpolated_attention.tuning.tile_sizes import TARGETS
from benchmarks.common import sources
from benchmarks.compile_report.loop_cycles import LOOPS
from benchmarks.compile_report.loops import Loop, LoopLine, write_loops
from benchmarks.compile_report.specialisations import ReportLine, cases, compile_case

RESULTS = LOOPS.parent


def write(rows: list[ReportLine], loops: list[LoopLine], folder: Path) -> None:
    """compile_report.csv and loops.csv, every line; .md, the same to read; sources.json, digests of the kernels."""
    import triton

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "compile_report.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [field.name for field in fields(ReportLine)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)
    digests = sources.recorded(sources.KERNELS)
    (folder / "sources.json").write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    write_loops(loops, folder / "loops.csv")
    (folder / "loops.md").write_text(_loops_to_read(loops), encoding="utf-8")
    lines = [
        "# What the shipped configurations compile to",
        "",
        f"Written by `python -m benchmarks.compile_report`, Triton {triton.__version__}. {len(rows)} specialisations, "
        f"{sum(bool(row.problem) for row in rows)} with a problem. Tiles: queries x keys of a block, widths that cover "
        "head_dim, slices x widths that cover their value columns. Occupancy is estimated from registers, shared and "
        "tensor memory.",
        "",
    ]
    for target in dict.fromkeys(row.target for row in rows):
        lines += [
            f"## {target}",
            "",
            "| kernel | dtype | D | tiles | warps | stages | registers | spilled | shared | matrix instructions "
            "| occupancy | problem |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row.kernel} | {row.dtype} | {row.head_dim} | {row.tiles} | {row.warps} | {row.stages} "
            f"| {row.registers} | {row.spilled_bytes} | {row.shared_bytes} | {row.matrix_instructions} "
            f"| {row.occupancy:.0%} | {row.problem or '-'} |"
            for row in rows
            if row.target == target
        ]
        lines.append("")
    (folder / "compile_report.md").write_text("\n".join(lines), encoding="utf-8")


def _loops_to_read(lines: list[LoopLine]) -> str:
    """loops.md: loops of the attention kernels, target by target."""
    names = [field.name for field in fields(Loop) if field.name not in ("lone_waits", "local_accesses")]
    text = [
        "# Loops of the shipped kernels",
        "",
        "Written by `python -m benchmarks.compile_report`. Every innermost loop with matrix instructions, one turn: "
        "its keys, resident programs, instructions of a warp; cycles of a multiprocessor that each pipe needs, the "
        "slowest of them (ideal), one after the other (serial), and an in-order estimate with assumed latencies; waits "
        "for matrix products and for copies, barriers, copies to shared memory and loads through registers. **Counts "
        "are of the machine code; cycles are a model, nothing is measured.** 0 where the code or the chip's table does "
        "not tell.",
        "",
    ]
    for target in dict.fromkeys(line.target for line in lines):
        text += [
            f"## {target}",
            "",
            f"| kernel | dtype | D | loop | {' | '.join(names)} |",
            "|---" * (len(names) + 4) + "|",
        ]
        for line in lines:
            if line.target == target:
                cells = [line.kernel, line.dtype, line.head_dim, line.loop, *(getattr(line.counts, n) for n in names)]
                text.append(f"| {' | '.join(map(str, cells))} |")
        text.append("")
    return "\n".join(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the tables")
    parser.add_argument("--arch", nargs="+", choices=TARGETS, default=TARGETS, help="targets; default: all")
    parser.add_argument(
        "--quick", action="store_true", help="one of each kind, among the heaviest; writes no table unless --out"
    )
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="processes that compile")
    arguments = parser.parse_args()
    if os.environ.pop("TRITON_INTERPRET", "0") not in ("", "0"):
        print("TRITON_INTERPRET is unset for this command: it compiles")
    start = time.monotonic()
    rows: list[ReportLine] = []
    loops: list[LoopLine] = []
    wanted = list(cases(tuple(arguments.arch), arguments.quick))
    compile_one = partial(compile_case, recorded=LOOPS if arguments.quick else None)
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        for row, found in pool.imap(compile_one, wanted):
            rows.append(row)
            loops += found
            print(
                f"{row.target:7} {row.kernel:31} {row.dtype:9} D={row.head_dim:<4} {row.tiles:26} "
                f"{row.registers:4} registers {row.spilled_bytes:5} spilled {row.shared_bytes:7} shared "
                f"{row.matrix_instructions:4} {row.problem}",
                flush=True,
            )
    if not arguments.quick or arguments.out != RESULTS:
        write(rows, loops, arguments.out)
    failed = sum(bool(row.problem) for row in rows)
    print(f"{len(rows)} specialisations, {failed} with a problem, {time.monotonic() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks.compile_report`: compile every shipped configuration for every GPU target, on any machine.

Writes compile_report.md and .csv: registers, spills, shared memory, matrix instructions, estimated occupancy; and
sources.json, digests of what was compiled. Exits with 1 if anything does not compile, spills, wants more shared memory
than the chip has, or lacks its matrix instruction.
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
from pathlib import Path

from aid_kernels.interpolated_attention.tuning.tile_sizes import TARGETS
from benchmarks.common import result_files, sources
from benchmarks.compile_report.specialisations import ReportLine, cases, compile_case

RESULTS = result_files.RESULTS / "compile_report"


def write(rows: list[ReportLine], folder: Path) -> None:
    """compile_report.csv, every line; compile_report.md, the same to read; sources.json, digests of the kernels."""
    import triton

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "compile_report.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [field.name for field in fields(ReportLine)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)
    digests = sources.recorded(sources.KERNELS)
    (folder / "sources.json").write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
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
    start, rows = time.monotonic(), []
    wanted = list(cases(tuple(arguments.arch), arguments.quick))
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        for row in pool.imap(compile_case, wanted):
            rows.append(row)
            print(
                f"{row.target:7} {row.kernel:31} {row.dtype:9} D={row.head_dim:<4} {row.tiles:26} "
                f"{row.registers:4} registers {row.spilled_bytes:5} spilled {row.shared_bytes:7} shared "
                f"{row.matrix_instructions:4} {row.problem}",
                flush=True,
            )
    if not arguments.quick or arguments.out != RESULTS:
        write(rows, arguments.out)
    failed = sum(bool(row.problem) for row in rows)
    print(f"{len(rows)} specialisations, {failed} with a problem, {time.monotonic() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

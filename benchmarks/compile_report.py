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
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from aid_kernels import InterpolationPlan
from aid_kernels.interpolated_attention.tuning.static import TARGETS

if TYPE_CHECKING:
    from aid_kernels.interpolated_attention.impl.triton.launch import Launch

RESULTS = Path(__file__).parent / "results" / "compile_report"
HEAD_DIMS = (8, 40, 64, 80, 96, 128, 160, 256)
# odd, so that every loop has its tail: whatever an even length compiles to is part of it
LENGTHS = {"outer": 1001, "inner_premixed": 1001, "inner_fused": 77, "lerp": 1001}
# stands for any number of sources that is not unrolled
MANY = 3


@dataclass(frozen=True)
class Case:
    """One specialisation: what a launch is made for."""

    target: str
    mode: str  # of attention_kernel; or lerp
    dtype: str
    head_dim: int
    sources: int  # J
    masked: bool


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    target: str
    kernel: str
    dtype: str
    head_dim: int
    tiles: str
    warps: int
    stages: int
    registers: int = 0
    spilled_bytes: int = 0
    shared_bytes: int = 0
    shared_limit: int = 0
    matrix_instructions: int = 0
    occupancy: float = 0.0
    problem: str = ""


def cases(targets: tuple[str, ...], quick: bool) -> Iterator[Case]:
    """Every line of the chips' tables, few and many sources, masks, inner, dtypes; less if `quick`."""
    for target in targets:
        for dim in (80,) if quick else HEAD_DIMS:
            yield Case(target, "outer", "bfloat16", dim, 2, False)
        for dim in (256,) if quick else HEAD_DIMS:
            yield Case(target, "outer", "bfloat16", dim, MANY, False)
        # with masks: the one with more accumulators in a program
        for dim, sources in ((128, 2),) if quick else ((64, MANY), (96, 2), (128, 2), (160, 2), (256, 2)):
            yield Case(target, "outer", "bfloat16", dim, sources, True)
        for dim, sources in ((128, 2),) if quick else ((64, MANY), (128, 2), (128, MANY), (256, 2)):
            yield Case(target, "outer", "float32", dim, sources, False)
        if not quick:
            yield Case(target, "outer", "float16", 64, 2, False)
            yield Case(target, "inner_premixed", "float16", 128, 2, False)
            yield Case(target, "inner_fused", "bfloat16", 160, 2, True)
            yield Case(target, "lerp", "bfloat16", 80, 2, True)
        yield Case(target, "inner_fused", "bfloat16", 64, 2, False)


def compile_case(case: Case) -> Row:
    """Compile one specialisation and judge it."""
    from benchmarks.compiled_kernel import CHIPS, compile_launch, read_resources

    launch, chip = make_launch(case), CHIPS[case.target]
    row = describe(case, launch)
    try:
        found = read_resources(compile_launch(launch, case.target), case.target)
    except Exception as error:  # noqa: BLE001 - whatever the compiler raises is a line of the report, and fails it
        text = " ".join(str(error).split())
        return replace(row, problem=f"does not compile: {type(error).__name__}: {text[-200:]}")
    problems = []
    if found.spilled:
        problems.append(f"spills {found.spilled} bytes")
    if found.shared > chip.shared_limit:
        problems.append(f"wants {found.shared} bytes of shared memory, the chip has {chip.shared_limit}")
    # IEEE float32 products have no matrix instruction on NVIDIA's chips
    expected = case.mode != "lerp" and (case.dtype != "float32" or case.target.startswith("gfx"))
    if expected and not found.instructions:
        problems.append(f"has no {chip.instruction}")
    return replace(
        row,
        registers=found.registers,
        spilled_bytes=found.spilled,
        shared_bytes=found.shared,
        shared_limit=chip.shared_limit,
        matrix_instructions=found.instructions,
        occupancy=round(found.occupancy, 3),
        problem="; ".join(problems),
    )


def describe(case: Case, launch: Launch) -> Row:
    """The line of a specialisation before it is compiled."""
    return Row(
        target=case.target,
        kernel=_kernel_name(case),
        dtype=case.dtype,
        head_dim=case.head_dim,
        tiles=_tiles(launch.constants),
        warps=launch.options["num_warps"],
        stages=launch.options["num_stages"],
    )


def make_launch(case: Case) -> Launch:
    """The launch as the implementation makes it, for 4 rows of 8 heads as diffusers lays them out, without memory."""
    from aid_kernels.interpolated_attention.impl.triton.launch import attention_launch, lerp_launch
    from aid_kernels.interpolated_attention.inputs import AttentionInputs

    dtype, length = getattr(torch, case.dtype), LENGTHS[case.mode]
    query, key, value, output, bank_key, bank_value = (
        torch.empty(4, length, 8, case.head_dim, dtype=dtype, device="meta").transpose(1, 2) for _ in range(6)
    )
    mask = torch.empty(4, length, dtype=torch.bool, device="meta") if case.masked else None
    weights = torch.zeros(4, case.sources)
    weights[1:3, 0] = 1
    plan = InterpolationPlan(torch.zeros(4, case.sources, dtype=torch.int32), weights)
    inputs = AttentionInputs(query, key, value, bank_key, bank_value, mask, mask, plan, True, 0.125)
    if case.mode == "lerp":
        return lerp_launch(inputs, inputs._replace(bank_key=key, bank_value=value))
    return attention_launch(case.mode, case.target, inputs, output)


def write(rows: list[Row], folder: Path) -> None:
    """compile_report.csv, every line; compile_report.md, the same to read; sources.json, digests of the kernels."""
    import triton

    from benchmarks import sources

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "compile_report.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
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


def _kernel_name(case: Case) -> str:
    names = {"outer": f"outer, J={case.sources}" if case.sources < MANY else "outer, any J"}
    names |= {"inner_premixed": "inner, premixed", "inner_fused": "inner, fused mix", "lerp": "mixing"}
    return names[case.mode] + (", masks" if case.masked else "")


def _tiles(constants: dict[str, Any]) -> str:
    tiles = constants.get("TILES")
    if tiles is None:
        return f"{constants['BLOCK']}x{constants['WIDTH']}"
    widths = f"{tiles.key_main}+{tiles.key_rest}, {tiles.slices}x({tiles.value_main}+{tiles.value_rest})"
    return f"{tiles.block_m}x{tiles.block_n}, {widths}".replace("+0", "")


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

"""Specialisations of the kernels: which ones the shipped configurations make, and what each compiles to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from aid_kernels import InterpolationPlan

if TYPE_CHECKING:
    from aid_kernels.interpolated_attention.impl.triton.launch import Launch
    from aid_kernels.interpolated_attention.tuning.tile_sizes import LaunchConfig
    from benchmarks.compile_report.loops import LoopLine

HEAD_DIMS = (8, 40, 64, 80, 96, 128, 160, 256)
# odd, so that every loop has its tail: whatever an even length compiles to is part of it
LENGTHS = {"outer": 1001, "inner_premixed": 1001, "inner_fused": 77, "lerp": 1001}
# of a cross-attention to a prompt; queries of a layer in the middle of a UNet
PROMPT, FEW = 77, 64
HOPPER = "sm_90"
# stands for any number of sources that is not unrolled
MANY = 3


@dataclass(frozen=True)
class Specialisation:
    """One specialisation: what a launch is made for."""

    target: str
    mode: str  # of attention_kernel; or lerp
    dtype: str
    head_dim: int
    sources: int  # J
    masked: bool
    keys: int = 0  # of every segment; 0: as `LENGTHS` says
    queries: int = 1001  # of a row


@dataclass(frozen=True)
class ReportLine:
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


def cases(targets: tuple[str, ...], quick: bool) -> Iterator[Specialisation]:
    """Every line of the chips' tables, few and many sources, masks, inner, dtypes; less if `quick`."""
    for target in targets:
        for dim in (64, 80) if quick else HEAD_DIMS:
            yield Specialisation(target, "outer", "bfloat16", dim, 2, False)
        for dim in (256,) if quick else HEAD_DIMS:
            yield Specialisation(target, "outer", "bfloat16", dim, MANY, False)
        # with masks: the one with more accumulators in a program
        for dim, sources in ((128, 2),) if quick else (
            (64, MANY), (80, MANY), (96, 2), (128, 2), (160, 2), (256, 2),
        ):  # fmt: skip
            yield Specialisation(target, "outer", "bfloat16", dim, sources, True)
        for dim, sources in ((128, 2),) if quick else ((64, MANY), (128, 2), (128, MANY), (256, 2)):
            yield Specialisation(target, "outer", "float32", dim, sources, False)
        for dim in (64,) if quick else (64, 160):
            yield Specialisation(target, "outer", "bfloat16", dim, 2, False, keys=PROMPT)
        yield Specialisation(target, "outer", "bfloat16", 64, MANY, True, keys=PROMPT)
        if target == HOPPER and not quick:
            yield from _hopper_lines()
        if not quick:
            yield Specialisation(target, "outer", "float16", 64, 2, False)
            yield Specialisation(target, "inner_premixed", "float16", 128, 2, False)
            yield Specialisation(target, "lerp", "bfloat16", 80, 2, True)
        yield Specialisation(target, "outer", "bfloat16", 64, 2, False, queries=FEW)
        yield Specialisation(target, "inner_fused", "bfloat16", 64, 2, False)
        yield Specialisation(target, "inner_fused", "bfloat16", 160, 2, True)


def _hopper_lines() -> Iterator[Specialisation]:
    """What has a line of its own there, and the tiles of short calls."""
    for dim in (40, 80, 128):
        yield Specialisation(HOPPER, "outer", "bfloat16", dim, 2, False, keys=PROMPT)
    for dim in (40, 64):
        yield Specialisation(HOPPER, "inner_premixed", "bfloat16", dim, 2, False)
    yield Specialisation(HOPPER, "inner_premixed", "bfloat16", 64, 2, False, keys=PROMPT)
    for dim in (40, 64):
        yield Specialisation(HOPPER, "outer", "bfloat16", dim, 2, True, keys=PROMPT)
    yield Specialisation(HOPPER, "inner_premixed", "bfloat16", 64, 2, True)
    yield Specialisation(HOPPER, "inner_premixed", "bfloat16", 64, 2, True, keys=PROMPT)
    yield Specialisation(HOPPER, "outer", "bfloat16", 160, 2, False, queries=FEW)
    yield Specialisation(HOPPER, "outer", "bfloat16", 160, 2, False, PROMPT, FEW)


def compile_case(case: Specialisation, recorded: Path | None = None) -> tuple[ReportLine, list[LoopLine]]:
    """Compile one specialisation and judge it.

    Args:
        recorded: loops.csv of before; what a main loop gained over it is a problem. None means no comparison.
    """
    from benchmarks.compile_report.chips import ARCHITECTURES
    from benchmarks.compile_report.compiled_kernel import compile_launch, read_resources

    launch, chip = make_launch(case), ARCHITECTURES[case.target]
    row = describe(case, launch)
    try:
        compiled = compile_launch(launch, case.target)
        found = read_resources(compiled, case.target)
        loops = _loops(case, row, launch, compiled, found.programs)
    except Exception as error:  # noqa: BLE001 - whatever the compiler raises is a line of the report, and fails it
        text = " ".join(str(error).split())
        return replace(row, problem=f"does not compile: {type(error).__name__}: {text[-200:]}"), []
    problems = []
    if found.spilled:
        problems.append(f"spills {found.spilled} bytes")
    if found.shared > chip.shared_limit:
        problems.append(f"wants {found.shared} bytes of shared memory, the chip has {chip.shared_limit}")
    # IEEE float32 products have no matrix instruction on NVIDIA's chips
    expected = case.mode != "lerp" and (case.dtype != "float32" or case.target.startswith("gfx"))
    if expected and not found.instructions:
        problems.append(f"has no {chip.instruction}")
    line = replace(
        row,
        registers=found.registers,
        spilled_bytes=found.spilled,
        shared_bytes=found.shared,
        shared_limit=chip.shared_limit,
        matrix_instructions=found.instructions,
        occupancy=round(found.occupancy, 3),
        problem="; ".join(problems + _loop_problems(loops, recorded)),
    )
    return line, loops


def _loops(case: Specialisation, row: ReportLine, launch: Launch, compiled: Any, programs: int) -> list[LoopLine]:
    from benchmarks.compile_report.loops import LoopLine, read_loops

    if case.mode == "lerp" or case.target.startswith("gfx"):
        return []
    itemsize = getattr(torch, case.dtype).itemsize
    found = read_loops(
        compiled.asm["cubin"], case.target, launch.constants["TILES"], row.warps, max(1, programs), itemsize
    )
    return [
        LoopLine(case.target, row.kernel, case.dtype, case.head_dim, number, loop)
        for number, loop in enumerate(found, 1)
    ]


def _loop_problems(loops: list[LoopLine], recorded: Path | None) -> list[str]:
    from benchmarks.compile_report.loops import problems, recorded_loops

    if not loops:
        return []
    first = loops[0]
    before = recorded_loops(recorded) if recorded else {}
    key = first.target, first.kernel, first.dtype, first.head_dim
    return problems([line.counts for line in loops], before.get(key, []))


def describe(case: Specialisation, launch: Launch) -> ReportLine:
    """The line of a specialisation before it is compiled."""
    return ReportLine(
        target=case.target,
        kernel=_kernel_name(case),
        dtype=case.dtype,
        head_dim=case.head_dim,
        tiles=_tiles(launch.constants),
        warps=launch.options["num_warps"],
        stages=launch.options["num_stages"],
    )


def make_launch(case: Specialisation, config: LaunchConfig | None = None) -> Launch:
    """The launch as the implementation makes it, for 4 rows of 8 heads as diffusers lays them out, without memory."""
    from aid_kernels.interpolated_attention.impl.triton.launch import attention_launch, lerp_launch, packed_words
    from aid_kernels.interpolated_attention.inputs import AttentionInputs

    dtype, length = getattr(torch, case.dtype), case.keys or LENGTHS[case.mode]
    query, output, key, value, bank_key, bank_value = (
        torch.empty(4, count, 8, case.head_dim, dtype=dtype, device="meta").transpose(1, 2)
        for count in (*[case.queries] * 2, *[length] * 4)
    )
    mask = torch.empty(4, packed_words(length), dtype=torch.int32, device="meta") if case.masked else None
    weights = torch.zeros(4, case.sources)
    weights[1:3, 0] = 1
    plan = InterpolationPlan(torch.zeros(4, case.sources, dtype=torch.int32), weights)
    inputs = AttentionInputs(query, key, value, bank_key, bank_value, mask, mask, plan, True, 0.125)
    if case.mode == "lerp":
        return lerp_launch(inputs, inputs._replace(bank_key=key, bank_value=value))
    return attention_launch(case.mode, case.target, inputs, output, config)


def _kernel_name(case: Specialisation) -> str:
    names = {"outer": f"outer, J={case.sources}" if case.sources < MANY else "outer, any J"}
    names |= {"inner_premixed": "inner, premixed", "inner_fused": "inner, fused mix", "lerp": "mixing"}
    return (
        names[case.mode]
        + (", masks" if case.masked else "")
        + (f", {case.keys} keys" if case.keys else "")
        + (f", {case.queries} queries" if case.queries == FEW else "")
    )


def _tiles(constants: dict[str, Any]) -> str:
    tiles = constants.get("TILES")
    if tiles is None:
        return f"{constants['BLOCK']}x{constants['WIDTH']}"
    widths = f"{tiles.key_main}+{tiles.key_rest}, {tiles.slices}x({tiles.value_main}+{tiles.value_rest})"
    return f"{tiles.block_m}x{tiles.block_n}, {widths}".replace("+0", "")

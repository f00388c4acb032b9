"""`python -m benchmarks.compile_report.hopper`: what the Hopper kernel compiles to, on any machine.

Writes hopper.md: registers, spilled bytes, shared memory, and of the consumers' main loops the instructions, matrix
products, waits and barriers, counted in the machine code. Exits with 1 if anything spills or is waited for alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.experimental.gluon._runtime import GluonASTSource

from aid_kernels import InterpolationPlan
from aid_kernels.interpolated_attention.checks import checked_inputs
from aid_kernels.interpolated_attention.impl.hopper.launch import HopperLaunch, attention_launch
from benchmarks.common import result_files
from benchmarks.compile_report.chips import ARCHITECTURES
from benchmarks.compile_report.compiled_kernel import gpu_target, read_resources
from benchmarks.compile_report.machine_code import Instruction, disassemble, inner_loops

RESULTS = result_files.RESULTS / "compile_report" / "hopper.md"
TARGET = "sm_90"
# two groups of four warps attend, and each has its own loops
CONSUMERS = 2
_NAMES = {torch.float16: "fp16", torch.bfloat16: "bf16"}


@dataclass(frozen=True)
class Case:
    """One specialisation of the kernel."""

    head_dim: int
    dtype: torch.dtype
    sources: int
    fuse_self: bool
    length: int  # of queries, own keys and sources

    def __str__(self) -> str:
        fused = "fused" if self.fuse_self else "not fused"
        return f"D={self.head_dim}, {_NAMES[self.dtype]}, J={self.sources}, {fused}, {self.length} keys"


CASES = tuple(
    case
    for head_dim in (64, 128)
    for case in (
        Case(head_dim, torch.bfloat16, 2, True, 4096),
        Case(head_dim, torch.bfloat16, 2, True, 1001),
        Case(head_dim, torch.bfloat16, 2, False, 1001),
        Case(head_dim, torch.bfloat16, 1, True, 1001),
        Case(head_dim, torch.float16, 2, True, 1001),
    )
)


@dataclass(frozen=True)
class MainLoop:
    """A consumer's loop over a segment's blocks, one turn of a warp.

    Attributes:
        instructions: in all.
        products: HGMMA.
        waits: for matrix products.
        lone_waits: those of them after a single HGMMA.
        barriers: of the consumer's warps.
        phases: mbarriers that are waited for.
        arrivals: at mbarriers.
        local_accesses: to spilled registers.
    """

    instructions: int
    products: int
    waits: int
    lone_waits: int
    barriers: int
    phases: int
    arrivals: int
    local_accesses: int


@dataclass(frozen=True)
class Line:
    """What one specialisation compiled to."""

    case: Case
    registers: int
    spilled: int
    shared: int
    loops: tuple[MainLoop, ...]

    @property
    def problem(self) -> str:
        segments = self.case.sources + 1
        found = []
        if self.spilled or any(loop.local_accesses for loop in self.loops):
            found.append(f"{self.spilled} bytes spilled")
        if any(loop.lone_waits > 1 or loop.waits > 2 for loop in self.loops):
            found.append("HGMMA are serialised")
        if len(self.loops) != CONSUMERS * segments:
            found.append(f"{len(self.loops)} main loops, not one for each of {CONSUMERS} x {segments}")
        if self.shared > ARCHITECTURES[TARGET].shared:
            found.append("too much shared memory")
        return "; ".join(found)


def make_launch(case: Case) -> HopperLaunch:
    """The launch of 3 rows and 2 heads of a case; its tensors are never read."""
    query, key, value = (torch.empty(3, 2, case.length, case.head_dim, dtype=case.dtype) for _ in range(3))
    sources = torch.zeros(3, case.sources, dtype=torch.int32)
    weights = torch.full((3, case.sources), 1 / case.sources)
    plan = InterpolationPlan(sources, weights)
    inputs = checked_inputs(query, key, value, plan, case.fuse_self, None, None, None, None)
    return attention_launch(inputs, torch.empty_like(query))


def compile_launch(launch: HopperLaunch) -> Any:
    """The compiled kernel, specialised as a launch with these arguments would be."""
    names = launch.kernel.arg_names
    types = {name: _type(value) for name, value in launch.arguments.items()}
    pointers = [name for name, text in types.items() if text.startswith("*")]
    source = GluonASTSource(
        launch.kernel,
        {name: types.get(name, "constexpr") for name in names},
        {(names.index(name),): value for name, value in launch.constants.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in pointers},
    )
    return triton.compile(source, target=gpu_target(TARGET), options=launch.options)


def read(case: Case) -> Line:
    """Compile a case and count."""
    compiled = compile_launch(make_launch(case))
    resources = read_resources(compiled, TARGET)
    # spins on mbarriers lie behind the code; a branch back from there is no loop over blocks, and waits for no part
    bodies = [body for body in inner_loops(disassemble(compiled.asm["cubin"])) if any(map(_waits_for_a_part, body))]
    return Line(case, resources.registers, resources.spilled, resources.shared, tuple(map(main_loop, bodies)))


def main_loop(body: list[Instruction]) -> MainLoop:
    waits = lone = since = 0
    for item in body:
        if item.base == "HGMMA":
            since += 1
        elif item.base == "WARPGROUP" and "DEPBAR" in item.name:
            waits, lone, since = waits + 1, lone + (since == 1), 0
    return MainLoop(
        instructions=len(body),
        products=_count(body, "HGMMA"),
        waits=waits,
        lone_waits=lone,
        barriers=_count(body, "BAR"),
        phases=_count(body, "SYNCS", "TRYWAIT"),
        arrivals=_count(body, "SYNCS", "ARRIVE"),
        local_accesses=_count(body, "LDL") + _count(body, "STL"),
    )


def page(lines: list[Line]) -> str:
    """hopper.md."""
    text = [
        "# What the Hopper kernel compiles to",
        "",
        f"Written by `python -m benchmarks.compile_report.hopper`, Triton {triton.__version__}, {TARGET}.",
        "No GPU has run this kernel. Counts are of the machine code. Registers are those of the launch; the consumers",
        "take more from the loading warp. Of the main loops, one for each segment and consumer, the most of each count",
        "in one turn of a warp: instructions, HGMMA, waits for them and those after a single one, barriers of a",
        "consumer's four warps, phases of mbarriers waited for, arrivals.",
        "",
        "| case | registers | spilled | shared | loops | instructions | HGMMA | waits | alone | barriers | phases "
        "| arrivals | problem |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for line in lines:
        counts = ("instructions", "products", "waits", "lone_waits", "barriers", "phases", "arrivals")
        most = [max((getattr(loop, name) for loop in line.loops), default=0) for name in counts]
        cells = [line.case, line.registers, line.spilled, line.shared, len(line.loops), *most, line.problem or "-"]
        text.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*text, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS, help="the page")
    arguments = parser.parse_args()
    if os.environ.pop("TRITON_INTERPRET", "0") not in ("", "0"):
        print("TRITON_INTERPRET is unset for this command: it compiles")
    lines = []
    for case in CASES:
        lines.append(read(case))
        print(case, lines[-1].problem or "no problem", flush=True)
    arguments.out.write_text(page(lines), encoding="utf-8")
    return 1 if any(line.problem for line in lines) else 0


def _waits_for_a_part(item: Instruction) -> bool:
    """Whether it waits for the logits alone, while P V goes on."""
    return item.name == "WARPGROUP.DEPBAR.LE" and item.text.endswith("0x1")


def _count(body: list[Instruction], base: str, part: str = "") -> int:
    return sum(item.base == base and part in item.name and item.predicate != "@!PT" for item in body)


def _type(value: Any) -> str:
    if hasattr(value, "block_shape"):
        block = ",".join(map(str, value.block_shape))
        return f"tensordesc<{_NAMES[value.base.dtype]}[{block}],{value.layout!r}>"
    if isinstance(value, torch.Tensor):
        return {torch.int32: "*i32", torch.float32: "*fp32"}[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


if __name__ == "__main__":
    sys.exit(main())

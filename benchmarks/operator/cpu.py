"""`python -m benchmarks.operator_cpu`: the peers side by side on the CPU, in one process, checked, then timed.

Writes operator.json and operator.md: times, ratios within the run, peak memory, and how much a row's result can differ
with the rows it shares a batch with.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aid_kernels import InterpolationPlan, inner_attention, outer_attention
from benchmarks.common import machine, sources
from benchmarks.common.memory import peak_extra_bytes
from benchmarks.common.result_files import CPU
from benchmarks.operator.peers import PEERS, check, oracle

ALL = ("reference", "materialized", "sdpa_concat", "sdpa")
OPS = {"outer": outer_attention, "inner": inner_attention}
MATE_SHAPES = ((1024, 1024, 64), (200, 700, 40), (37, 513, 80), (1, 77, 160))  # query_length, key_length, head_dim
BATCHED = ALL[1:]
FUSED = ALL[2:]  # where the others would take most of the time and say nothing new


@dataclass(frozen=True)
class PeerCase:
    """One shape, random normal values; `transposed` is (m, S, H, D).transpose(1, 2), what diffusers passes."""

    mode: str = "outer"
    frames: int = 7
    heads: int = 8
    query_length: int = 1024
    key_length: int = 1024
    head_dim: int = 64
    dtype: str = "float32"
    transposed: bool = False
    peers: tuple[str, ...] = BATCHED
    rounds: int = 7

    def inputs(self) -> tuple[Tensor, Tensor, Tensor, InterpolationPlan]:
        def draw(length: int) -> Tensor:
            shape = (self.frames, length, self.heads, self.head_dim)
            tensor = torch.randn(shape, generator=generator).to(getattr(torch, self.dtype)).transpose(1, 2)
            return tensor if self.transposed else tensor.contiguous()

        generator = torch.Generator().manual_seed(0)
        query, key, value = draw(self.query_length), draw(self.key_length), draw(self.key_length)
        return query, key, value, InterpolationPlan.sequence(torch.linspace(0, 1, self.frames))

    def __str__(self) -> str:
        layout = "(m, S, H, D) views" if self.transposed else "contiguous"
        return (
            f"{self.mode}, {self.frames} frames, H {self.heads}, Sq {self.query_length}, Sk {self.key_length}, "
            f"D {self.head_dim}, {self.dtype}, {layout}"
        )


def cases(quick: bool) -> list[PeerCase]:
    """The headline first; then other numbers of frames, layouts, dtypes and shapes."""
    if quick:
        return [PeerCase(mode=mode, heads=4, query_length=256, key_length=256, peers=ALL, rounds=3) for mode in PEERS]
    both = [PeerCase(mode=mode) for mode in PEERS]
    chosen = [replace(case, peers=ALL) for case in both]
    chosen += [replace(case, frames=3) for case in both]
    chosen += [replace(case, frames=15, peers=FUSED) for case in both]
    chosen += [replace(case, transposed=True, peers=FUSED) for case in both]
    chosen += [replace(case, dtype=dtype, peers=FUSED) for dtype in ("bfloat16", "float16") for case in both]
    chosen += [replace(case, query_length=256, key_length=256, head_dim=160) for case in both]
    chosen += [replace(case, key_length=77) for case in both]
    chosen += [replace(case, key_length=77, dtype="bfloat16", peers=FUSED) for case in both]
    chosen += [replace(case, key_length=77, transposed=True, peers=FUSED) for case in both]
    return chosen


def measure(case: PeerCase) -> list[dict[str, Any]]:
    """A row per peer: error, time percentiles in ms over interleaved rounds, peak bytes beyond the inputs."""
    inputs = case.inputs()
    calls = {name: PEERS[case.mode][name] for name in case.peers}
    exact = oracle(case.mode, *inputs, True)
    errors = {name: check(call(*inputs, True), exact) for name, call in calls.items()}
    peaks = {name: peak_extra_bytes(lambda call=call: call(*inputs, True)) for name, call in calls.items()}  # type: ignore[misc]
    times: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for _ in range(case.rounds):
        for name in order:
            start = time.perf_counter()
            calls[name](*inputs, True)
            times[name].append(1e3 * (time.perf_counter() - start))
        order = order[1:] + order[:1]  # nobody always runs after the same neighbour
    output_bytes = inputs[0].numel() * inputs[0].element_size()
    rows = []
    for name in calls:
        low, median, high = torch.tensor(times[name]).quantile(torch.tensor([0.2, 0.5, 0.8])).tolist()
        rows.append(
            {
                "peer": name,
                "p20_ms": low,
                "median_ms": median,
                "p80_ms": high,
                "relative_error": errors[name],
                "peak_extra_bytes": peaks[name],
                "peak_over_output": peaks[name] / output_bytes,
            }
        )
    mine = next(row for row in rows if row["peer"] == "sdpa")["median_ms"]
    return [row | {"sdpa_is_faster_by": row["median_ms"] / mine} for row in rows]


def batch_mates(mode: str, dtype: str) -> dict[str, Any]:
    """The largest difference between a row's `sdpa` result within its batch and alone, both reading the same bank."""
    op = OPS[mode]
    largest = rounding = 0.0
    for query_length, key_length, head_dim in MATE_SHAPES:
        case = PeerCase(mode, 7, 3, query_length, key_length, head_dim, dtype)
        query, key, value, plan = case.inputs()
        together = op(query, key, value, plan, impl="sdpa")
        rounding = max(rounding, torch.finfo(together.dtype).eps / 2 * together.abs().max().item())
        for row in range(case.frames):
            own = slice(row, row + 1)
            alone = op(query[own], key[own], value[own], plan.select(own), bank=(key, value), impl="sdpa")
            largest = max(largest, (alone - together[own]).abs().max().item())
    return {"mode": mode, "dtype": dtype, "largest_difference": largest, "one_rounding": rounding}


def markdown(result: dict[str, Any]) -> str:
    """The result as a page of tables."""
    lines = [
        "# Interpolated attention on the CPU",
        "",
        f"Written by `{result['command']}`. {machine.line(result['machine'])}.",
        "",
        "All peers in one process on the same random tensors, interleaved; with `fuse_self`. Time in ms. Faster by:",
        "median over the median of `sdpa`. Memory: most bytes allocated at once beyond the inputs, result included, as",
        "multiples of the result's size. Error: largest against float64, over the largest value.",
    ]
    for entry in result["cases"]:
        lines += ["", f"## {entry['title']}, {entry['case']['rounds']} rounds", ""]
        lines += ["| peer | p20 | median | p80 | sdpa is faster by | memory | error |", "|---|--:|--:|--:|--:|--:|--:|"]
        for row in entry["rows"]:
            lines.append(
                f"| `{row['peer']}` | {row['p20_ms']:.1f} | {row['median_ms']:.1f} | {row['p80_ms']:.1f} "
                f"| {row['sdpa_is_faster_by']:.2f}x | {row['peak_over_output']:.2f}x | {row['relative_error']:.1e} |"
            )
    lines += ["", "## How much a row's `sdpa` result depends on the rows it shares a batch with", ""]
    lines += ["| mode | dtype | largest difference | one rounding of the largest value |", "|---|---|--:|--:|"]
    for row in result["batch_mates"]:
        lines.append(
            f"| {row['mode']} | {row['dtype']} | {row['largest_difference']:.1e} | {row['one_rounding']:.1e} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operator_cpu", description=__doc__)
    parser.add_argument("--out", type=Path, help=f"folder to write to; default {CPU.relative_to(machine.ROOT)}")
    parser.add_argument(
        "--quick", action="store_true", help="small shapes, seconds; prints, and writes only with --out"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: one a core")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)  # torch's own default has been seen to vary with the machine's load
    out = options.out if options.out or options.quick else CPU
    entries = []
    for case in cases(options.quick):
        print(case, flush=True)
        entries.append({"title": str(case), "case": asdict(case), "rows": measure(case)})
    dtypes = ("float32", "bfloat16", "float16")
    mates = [batch_mates(mode, dtype) for mode in PEERS for dtype in dtypes]
    result = {
        "command": "python -m benchmarks.operator_cpu" + " --quick" * options.quick,
        "machine": machine.describe(),
        "sources": sources.recorded(sources.STOCK),
        "cases": entries,
        "batch_mates": mates,
    }
    page = markdown(result)
    print(page)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "operator.json").write_text(json.dumps(result, indent=1) + "\n")
        (out / "operator.md").write_text(page)
        print(f"wrote {out / 'operator.json'} and {out / 'operator.md'}")

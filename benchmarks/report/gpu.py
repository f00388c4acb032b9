"""What was measured on GPUs, as text; and what the cost model expects, beside it."""

from __future__ import annotations

from typing import Any

from benchmarks.common import machine
from benchmarks.common.result_files import Result
from benchmarks.common.settings import Row
from benchmarks.compile_report.chips import CHIPS, Chip, chip_of
from benchmarks.compile_report.cost_model import FAR, PEERS, Call, far, predict
from benchmarks.denoiser import steps, throughput
from benchmarks.operator.shapes import FRAMES, SHAPES
from benchmarks.report.collect import Results, table

RIVALS = ("sdpa", "sdpa_concat", "flex", "materialized")
PREDICTED_DIMS = (40, 64, 80, 128, 160)
NONE = "No result of a GPU is committed: nothing here says how fast anything is on one.\n"


def measured(results: Results) -> str:
    """Every GPU's operator, denoiser and throughput."""
    parts = []
    for folder, result in results.gpu.items():
        name = result["machine"].get("gpu", folder)
        parts.append(f"### {name}\n\n{results.stale(result)}{_machine(result)}.\n")
        parts += [_ceilings(result), _operator(result), _predicted_and_measured(name, result)]
        rows = [row for row in result["rows"] if row.get("part") == "denoiser"]
        parts.append(f"{steps.NOTE}\n\n{steps.table(rows)}" if rows else "")
        rows = [row for row in result["rows"] if row.get("part") == "throughput"]
        parts.append(throughput.tables(rows) if rows else "")
    return "\n".join(part for part in parts if part) or NONE


def predictions(results: Results) -> str:
    """For every chip and head size one layer, predicted; beside it what its kernel compiled to."""
    text = results.stale(results.beside.get("compile_report/compile_report", {}))
    rows: list[list[object]] = []
    for chip in CHIPS:
        for dim in PREDICTED_DIMS:
            shape = max((shape for shape in SHAPES.values() if shape.head_dim == dim), key=lambda s: s.query_length)
            call = Call("outer", FRAMES, shape.heads, shape.query_length, shape.key_length, dim)
            expected = predict("ours", call, chip)
            compiled = _compiled(results, chip, dim)
            rows.append(
                [
                    chip.name,
                    shape.name,
                    f"{expected.milliseconds:.2g}",
                    f"{expected.tflops:.0f}",
                    expected.bound,
                    *(
                        [compiled[name] for name in ("registers", "spilled_bytes", "shared_bytes")]
                        if compiled
                        else "---"
                    ),
                    f"{float(compiled['occupancy']):.0%}" if compiled else "-",
                ]
            )
    head = ["chip", "layer", "predicted ms", "predicted TFLOP/s", "waits for"]
    head += ["registers", "spilled", "shared", "occupancy"]
    return text + table(head, rows, 2)


def best(result: Result, mode: str, frames: int) -> dict[str, dict[str, Row]]:
    """Timed rows of the operator by shape, then peer."""
    found: dict[str, dict[str, Row]] = {}
    for row in result["rows"]:
        chosen = row.get("part") == "operator" and "median_ms" in row
        if chosen and (row["mode"], row["m"]) == (mode, frames):
            found.setdefault(row["shape"], {})[row["peer"]] = row
    return found


def matmul_ceiling(result: Result) -> float | None:
    """Measured TFLOP/s of a large matrix product."""
    return next((row["tflops"] for row in result["rows"] if row.get("part") == "ceilings" and "tflops" in row), None)


def _machine(result: Result) -> str:
    """The usual line, and what else a GPU run says of its machine."""
    named = ("capability", "driver", "cuda", "cudnn", "triton")
    beside = [f"{name} {result['machine'][name]}" for name in named if name in result["machine"]]
    return ", ".join([machine.line(result["machine"]), *beside])


def _ceilings(result: Result) -> str:
    rows = [row for row in result["rows"] if row.get("part") == "ceilings" and "median_ms" in row]
    cells: list[list[object]] = [
        [row["peer"], f"{row['tflops']:.0f} TFLOP/s" if "tflops" in row else f"{row['gb_per_s']:.0f} GB/s"]
        for row in rows
    ]
    return table(["measured ceiling", ""], cells, 1) if cells else ""


def _operator(result: Result) -> str:
    """Both modes, the usual number of frames: times, how many times faster than each rival, share of the ceiling."""
    parts = []
    for mode in ("outer", "inner"):
        rows: list[list[object]] = []
        for shape, peers in best(result, mode, FRAMES).items():
            if "ours" not in peers:
                continue
            ours = peers["ours"]
            gains = [
                f"{peers[rival]['median_ms'] / ours['median_ms']:.2f}x" if rival in peers else "-" for rival in RIVALS
            ]
            over_plain = ours["peak_mib"] / peers["plain"]["peak_mib"] if "plain" in peers else None
            share = f"{ours['useful_tflops']:.0f} ({ours['ceiling_share']:.0%})"
            memory = "-" if over_plain is None else f"{over_plain:.2f}x"
            rows.append([shape, f"{ours['median_ms']:.3f}", *gains, share, memory])
        head = [f"{mode}, {FRAMES} frames", "here, ms", *(f"over `{rival}`" for rival in RIVALS)]
        if rows:
            parts.append(table([*head, "TFLOP/s (of the ceiling)", "memory over plain"], rows, 1))
    return "\n".join(parts)


def _predicted_and_measured(name: str, result: Result) -> str:
    """Each layer's measurement over the model's prediction, and a word where they are far apart."""
    chip = chip_of(name)
    if chip is None:
        return f"The cost model does not know {name}; `benchmarks/compile_report/chips.py` lists what it knows.\n"
    rows: list[list[object]] = []
    for row in result["rows"]:
        known = row.get("part") == "operator" and row.get("peer") in PEERS and "median_ms" in row
        if known and row["m"] == FRAMES:
            expected = predict(row["peer"], call_of(row), chip).milliseconds
            cells = [row["shape"], row["mode"], f"`{row['peer']}`", f"{row['median_ms']:.3f}", f"{expected:.3f}"]
            rows.append([*cells, far(row["median_ms"], expected)])
    head = ["layer", "mode", "peer", "measured ms", "predicted ms", f"further than {FAR}x"]
    return table(head, rows, 3) if rows else ""


def call_of(row: dict[str, Any]) -> Call:
    """What the cost model is asked about a row."""
    lengths = row["query_length"], row["key_length"]
    return Call(row["mode"], row["m"], row["heads"], *lengths, row["head_dim"])


def _compiled(results: Results, chip: Chip, head_dim: int) -> dict[str, str] | None:
    """The compile report's line of the plain outer kernel."""
    wanted = {"target": chip.target, "kernel": "outer, J=2", "dtype": "bfloat16", "head_dim": str(head_dim)}
    return next((line for line in results.compiled if wanted.items() <= line.items()), None)

"""What was measured on a CPU, as text."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.common import machine
from benchmarks.common.result_files import Result
from benchmarks.denoiser import steps, throughput
from benchmarks.report.collect import Results, table
from benchmarks.sequence.cpu import MEMORY_LINES

UNITS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def headline(results: Results) -> str:
    """The few lines for the README: whole sequences, then the operator alone."""
    parts = []
    sequence, operator = results.cpu.get("sequence"), results.cpu.get("operator")
    if sequence:
        parts.append(results.stale(sequence) + _schedules(sequence))
    if operator:
        rows: list[list[object]] = [_case(entry) for entry in operator["cases"] if _is_headline(entry["case"])]
        text = table(["attention of one layer", *_OPERATOR_HEAD], rows, 1)
        parts.append(results.stale(operator) + text)
    measured = [result["machine"] for result in (sequence, operator) if result]
    for name in dict.fromkeys(
        f"{one['processor']}, {one['threads']} threads, torch {one['torch']}" for one in measured
    ):
        parts.append(f"{name}; commits {', '.join(dict.fromkeys(one['commit'] for one in measured))}.\n")
    return "\n".join(parts)


def operator(results: Results) -> str:
    """Every case of `benchmarks.operator_cpu`."""
    result = results.cpu.get("operator")
    if result is None:
        return _missing("operator_cpu")
    text = table(["case", *_OPERATOR_HEAD], [_case(entry) for entry in result["cases"]], 1)
    return _about(results, result) + text


def sequence(results: Results) -> str:
    """Whole sequences, and their memory."""
    result = results.cpu.get("sequence")
    if result is None:
        return _missing("sequence_cpu")
    memory = result["memory"]
    short, long = memory["frames"]
    head = [f"peak memory, chunks of {memory['chunk']}", f"{short} frames", f"{long} frames", "ratio"]
    rows: list[list[object]] = []
    for what, name in ((what, name) for what, name in MEMORY_LINES.items() if name in memory):
        low, high = memory[name]
        rows.append([what, f"{low / 1e6:.1f} MB", f"{high / 1e6:.1f} MB", f"{high / low:.3f}"])
    return _about(results, result) + _schedules(result) + "\n" + results.stale(memory) + table(head, rows, 1)


def whole_denoiser(results: Results) -> str:
    """Denoiser steps, extrapolated."""
    result = results.cpu.get("denoiser")
    if result is None:
        return _missing("denoiser")
    return _about(results, result) + steps.NOTE + "\n\n" + steps.table(result["rows"])


def many_users(results: Results) -> str:
    """Frames per second over the number of users."""
    result = results.cpu.get("throughput")
    if result is None:
        return _missing("throughput")
    return _about(results, result) + throughput.tables(result["rows"])


_OPERATOR_HEAD = ["materialized, ms", "SDPA, ms", "here, ms", "over materialized", "over SDPA"]
_OPERATOR_HEAD += ["memory: materialized", "SDPA", "here"]


def _case(entry: dict[str, Any]) -> list[object]:
    """Times of the stock recipe and its rivals; how many times faster it is than either; memory of all three."""
    rows = {row["peer"]: row for row in entry["rows"]}
    peers = ("materialized", "sdpa_concat", "sdpa")

    def cells(column: str, form: str, peers: tuple[str, ...] = peers) -> list[str]:
        return [form.format(rows[peer][column]) if peer in rows else "-" for peer in peers]

    times, memory = cells("median_ms", "{:.0f}"), cells("peak_over_output", "{:.1f}")
    return [case_name(entry["case"]), *times, *cells("sdpa_is_faster_by", "{:.2f}x", peers[:2]), *memory]


def case_name(case: dict[str, Any]) -> str:
    """Short, and only as exact as it takes to tell the cases apart."""
    lengths = "{query_length} x {key_length}, D {head_dim}".format(**case)
    views = ", views" if case["transposed"] else ""
    return f"{case['mode']}, {case['frames']} frames, H {case['heads']}, {lengths}, {UNITS[case['dtype']]}{views}"


def _is_headline(case: dict[str, Any]) -> bool:
    """The first of each mode, of which all peers were measured."""
    return "reference" in case["peers"]


def _schedules(result: Result) -> str:
    head = ["whole sequence", "public schedule, s", "`interpolate`, s", "faster"]
    rows: list[list[object]] = []
    for row in result["schedules"]:
        public, ours = (statistics.median(row["seconds"][name]) for name in ("public", "ours"))
        name = f"{row['frames']} frames, warm-up {row['warmup']:g}"
        rows.append([name, f"{public:.1f}", f"{ours:.1f}", f"{row['ratio']:.2f}x"])
    return table(head, rows, 1)


def _about(results: Results, result: Result) -> str:
    return f"{results.stale(result)}`{result['command']}`: {machine.line(result['machine'])}.\n\n"


def _missing(name: str) -> str:
    return f"Not measured yet; `python -m benchmarks.{name}` does.\n"

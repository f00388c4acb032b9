"""Plots of committed results as SVG, the same bytes whenever they are drawn by the same matplotlib."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.operator.shapes import FRAMES
from benchmarks.report.collect import Results
from benchmarks.report.cpu import case_name
from benchmarks.report.gpu import best, matmul_ceiling

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# of a peer, everywhere; told apart without colour vision (Okabe and Ito)
COLOURS = {
    "ours": "#0072B2",
    "auto": "#0072B2",
    "triton": "#CC79A7",
    "sdpa": "#56B4E9",
    "sdpa_concat": "#E69F00",
    "flex": "#009E73",
    "materialized": "#999999",
    "public": "#999999",
}
LABELS = {
    "ours": "here",
    "sdpa": "here, stock recipe",
    "sdpa_concat": "SDPA on concatenated keys",
    "flex": "FlexAttention",
    "materialized": "materialized softmax",
    "public": "public schedule",
    "auto": "here, one batch, auto",
    "triton": "here, triton",
}
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "aid_kernels",
    "svg.fonttype": "none",  # text stays text: small, and independent of installed fonts
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_all(results: Results) -> Iterator[tuple[str, str]]:
    """Name and SVG of every plot that there are results for."""
    for name, data, draw in _planned(results):
        yield name, svg(draw(data), data)


def svg(figure: Figure, data: object) -> str:
    """The figure, with a digest of what it shows and the version that drew it among its metadata."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        about = f"data {digest(data)}, matplotlib {matplotlib.__version__}"
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Description": about})
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def same(committed: str, drawn: str) -> bool:
    """Whether two SVG show the same; compares bytes if one matplotlib drew both, else the digests of their data."""
    first, second = (re.search(r"data (\w+), matplotlib ([\w.+]+)", text) for text in (committed, drawn))
    if first is None or second is None or first[2] == second[2]:
        return committed == drawn
    return first[1] == second[1]


def digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]


def _planned(results: Results) -> Iterator[tuple[str, Any, Any]]:
    """Name, data and drawing function."""
    operator = results.cpu.get("operator")
    if operator:
        entries = [
            (case_name(entry["case"]), {row["peer"]: row["sdpa_is_faster_by"] for row in entry["rows"]})
            for entry in operator["cases"]
        ]
        yield "cpu_speedup", {"title": "CPU: how many times faster this package (sdpa) is", "entries": entries}, speedup
        yield "cpu_memory", _memory_by_frames(operator), memory
    if "denoiser" in results.cpu:
        yield from _denoisers("cpu", "CPU", results.cpu["denoiser"])
    for folder, result in results.gpu.items():
        layers = best(result, "outer", FRAMES)
        name = result["machine"].get("gpu", folder)
        yield from _denoisers(folder, name, result)
        if not layers:
            continue
        speeds = [
            (shape, {peer: row["useful_tflops"] for peer, row in peers.items() if peer in COLOURS})
            for shape, peers in layers.items()
        ]
        title = {"title": f"{name}: useful TFLOP/s, outer, {FRAMES} frames", "ceiling": matmul_ceiling(result)}
        yield f"{folder}_achieved", title | {"entries": speeds}, achieved
        gains = [
            (shape, {peer: row["median_ms"] / peers["ours"]["median_ms"] for peer, row in peers.items()})
            for shape, peers in layers.items()
            if "ours" in peers
        ]
        yield (
            f"{folder}_speedup",
            {"title": f"{name}: how many times faster this package is, outer, {FRAMES} frames", "entries": gains},
            speedup,
        )


def _denoisers(prefix: str, machine: str, result: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Peak memory over the number of frames, for each model."""
    models: dict[str, dict[str, list[tuple[int, float]]]] = {}
    rows = [row for row in result["rows"] if row["part"] == "denoiser" and "extrapolated_s" in row]
    for row in sorted(rows, key=lambda row: row["m"]):
        if row["compiled"] == "no":
            lines = models.setdefault(row["shape"], {})
            lines.setdefault(row["peer"], []).append((row["m"], row["peak_mib"]))
    for model, lines in models.items():
        title = f"{machine}: peak memory of a denoiser step, {model}"
        yield f"{prefix}_{model}_memory", {"title": title, "unit": "MiB", "lines": lines}, memory


def speedup(data: dict[str, Any]) -> Figure:
    """A bar for each rival, by case; a line where they would be equal."""
    rivals = ("sdpa", "sdpa_concat", "flex", "materialized")
    mine = "ours" if any("ours" in peers for _, peers in data["entries"]) else "sdpa"
    shown = [rival for rival in rivals if rival != mine and any(rival in peers for _, peers in data["entries"])]
    figure, axes = _bars(data["entries"], shown, "{:.2f}")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_title(data["title"], loc="left")
    axes.set_xlabel("times faster than")
    return figure


def achieved(data: dict[str, Any]) -> Figure:
    """A bar for each peer, by layer; a line at the measured matrix product."""
    shown = [peer for peer in COLOURS if any(peer in peers for _, peers in data["entries"])]
    figure, axes = _bars(data["entries"], shown, "{:.0f}")
    if data["ceiling"]:
        axes.axvline(data["ceiling"], color="black", linestyle="--", linewidth=0.8)
        axes.text(data["ceiling"], -0.6, f"matrix product {data['ceiling']:.0f} ", ha="right", va="top")
    axes.set_title(data["title"], loc="left")
    axes.set_xlabel("useful TFLOP/s")
    return figure


def memory(data: dict[str, Any]) -> Figure:
    """A line for each peer over the number of frames."""
    figure, axes = _figure(3.2)
    for peer, points in data["lines"].items():
        frames, values = zip(*points, strict=True)
        axes.plot(frames, values, marker="o", color=COLOURS[peer], label=LABELS[peer])
        axes.annotate(f"{values[-1]:.3g}", (frames[-1], values[-1]), (6, 0), textcoords="offset points", va="center")
    axes.set_xticks(sorted({frame for points in data["lines"].values() for frame, _ in points}))
    axes.set_yscale("log")
    axes.set_yticks(_ticks([value for points in data["lines"].values() for _, value in points]))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_xlabel("frames")
    axes.set_ylabel(data["unit"])
    axes.set_title(data["title"], loc="left")
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    return figure


def _ticks(values: list[float]) -> list[float]:
    """1, 2, 5, 10 ... from below the least to above the greatest."""
    steps = [digit * 10.0**power for power in range(-3, 7) for digit in (1, 2, 5)]
    low = max(step for step in steps if step <= min(values))
    high = min(step for step in steps if step >= max(values))
    return [step for step in steps if low <= step <= high]


def _memory_by_frames(result: dict[str, Any]) -> dict[str, Any]:
    """Of the first case and those that differ from it in the number of frames alone."""
    base = result["cases"][0]["case"]
    lines: dict[str, list[tuple[int, float]]] = {}
    varied = ("frames", "peers", "rounds")
    for entry in sorted(result["cases"], key=lambda entry: entry["case"]["frames"]):
        if all(entry["case"][name] == value for name, value in base.items() if name not in varied):
            for row in entry["rows"]:
                if row["peer"] in LABELS:
                    lines.setdefault(row["peer"], []).append((entry["case"]["frames"], row["peak_over_output"]))
    title = "CPU: memory of one attention, " + case_name(base).replace(f"{base['frames']} frames, ", "")
    return {"title": title, "unit": "times the result's size", "lines": lines}


def _figure(height: float) -> tuple[Figure, Any]:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8, height), layout="constrained")
        return figure, figure.subplots()


def _bars(entries: list[tuple[str, dict[str, float]]], peers: list[str], form: str) -> tuple[Figure, Any]:
    """Horizontal bars, grouped by entry, the first one on top; values at their ends."""
    size = 0.8 / max(1, len(peers))
    figure, axes = _figure(1.2 + len(entries) * max(0.24, 0.16 * len(peers)))
    for place, peer in enumerate(peers):
        heights = [row + (place - (len(peers) - 1) / 2) * size for row in range(len(entries))]
        shown = [(height, values[peer]) for height, (_, values) in zip(heights, entries, strict=True) if peer in values]
        if shown:
            bars = axes.barh(
                [y for y, _ in shown], [x for _, x in shown], size, color=COLOURS[peer], label=LABELS[peer]
            )
            axes.bar_label(bars, [form.format(x) for _, x in shown], padding=2, fontsize=7)
    axes.set_yticks(range(len(entries)), [name for name, _ in entries])
    axes.set_ylim(len(entries) - 0.4, -0.6)
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    return figure, axes

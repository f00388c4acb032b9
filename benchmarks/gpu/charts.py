"""Plots of a GPU run, plain SVG by hand: they must come out wherever it runs. `benchmarks.report` draws nicer ones.

Outer attention with the usual number of frames, a group of bars per layer.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from benchmarks.common.settings import Row
from benchmarks.operator.shapes import FRAMES

PEERS = {
    "ours": "#0072B2",
    "sdpa": "#56B4E9",
    "sdpa_concat": "#E69F00",
    "flex": "#009E73",
    "sdpa_compiled": "#CC79A7",
    "materialized": "#999999",
    "plain": "#000000",
}
LEFT, WIDTH, BAR, GAP = 190, 520, 9, 10  # pixels

Groups = dict[str, dict[str, float]]


def achieved(rows: list[Row], gpu: str, *, smoke: bool) -> str:
    """Useful TFLOP/s by layer and peer, with the measured matrix product as a line."""
    ceiling = next((row["tflops"] for row in rows if row["part"] == "ceilings" and "tflops" in row), None)
    groups = _groups(rows, smoke, lambda row, _: row["useful_tflops"])
    return bars(f"{gpu}: useful TFLOP/s, outer, and a large matrix product", groups, ceiling, smoke=smoke)


def speedup(rows: list[Row], gpu: str, *, smoke: bool) -> str:
    """How many times faster `ours` is than each peer."""
    groups = _groups(rows, smoke, lambda row, ours: row["median_ms"] / ours["median_ms"], needs_ours=True)
    return bars(f"{gpu}: `ours` is faster by, outer", _without(groups, "plain"), 1.0, smoke=smoke)


def memory(rows: list[Row], gpu: str, *, smoke: bool) -> str:
    """Peak memory beyond the inputs, as multiples of plain attention's."""
    groups = _groups(rows, smoke, lambda row, _: row["peak_mib"])
    relative = {
        name: {peer: value / peers["plain"] for peer, value in peers.items()}
        for name, peers in groups.items()
        if peers.get("plain")
    }
    return bars(f"{gpu}: memory beyond the inputs over plain attention's, outer", relative, 1.0, smoke=smoke)


def bars(title: str, groups: Groups, line: float | None, *, smoke: bool) -> str:
    """Horizontal bars with their values, a dashed line, a legend; says so where it is a smoke run's."""
    if smoke:
        title = f"SMOKE RUN, NOT A RESULT. {title}"
    largest = max([line or 0.0, *(value for peers in groups.values() for value in peers.values())], default=0) or 1.0
    shapes, y = [_text(8, 18, title, size=13)], 36
    for place, (peer, colour) in enumerate(PEERS.items()):
        shapes.append(f'<rect x="{8 + place * 100}" y="{y}" width="9" height="9" fill="{colour}"/>')
        shapes.append(_text(20 + place * 100, y + 8, peer))
    y += 22
    top = y
    for name, peers in groups.items():
        shapes.append(_text(8, y + 10, name))
        for peer, value in peers.items():
            width = WIDTH * value / largest
            shapes.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{PEERS[peer]}"/>')
            shapes.append(_text(LEFT + width + 3, y + 8, f"{value:.3g}", size=8))
            y += BAR + 1
        y += GAP
    if not groups:
        shapes.append(_text(8, y + 10, "Nothing was measured to draw."))
        y += 2 * GAP
    if line:
        x = LEFT + WIDTH * line / largest
        shapes.append(f'<path d="M{x:.1f} {top}V{y}" stroke="black" stroke-dasharray="3"/>')
    size = f'width="{LEFT + WIDTH + 60}" height="{y + 8}"'
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _groups(rows: list[Row], smoke: bool, value: Callable[[Row, Any], float], needs_ours: bool = False) -> Groups:
    """Values, of a row and that of `ours`, by layer and peer, in the order measured."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        timed = row["part"] == "operator" and "median_ms" in row and row["peer"] in PEERS
        if timed and row["mode"] == "outer" and (smoke or row["m"] == FRAMES):
            found.setdefault(row["shape"], {})[row["peer"]] = row
    return {
        shape: {peer: value(row, peers.get("ours")) for peer, row in peers.items()}
        for shape, peers in found.items()
        if not needs_ours or "ours" in peers
    }


def _without(groups: Groups, peer: str) -> Groups:
    return {name: {other: value for other, value in peers.items() if other != peer} for name, peers in groups.items()}


def _text(x: float, y: float, text: str, size: int = 10) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}">{escape(text)}</text>'

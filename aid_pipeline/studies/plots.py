"""Plots of measures as PNG bytes: distances along t, box plots, strips of frames with the worst pair marked."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ..errors import MetricsError
from ..extras import naming_extra
from .evaluation.measure import SMALL, Measured

SIZE = (8.0, 4.5)  # inches
MANY = 12  # more lines than this are drawn thin, without a legend, under their mean
MARK = (214, 39, 40)
_GAP, _LABEL = 4, 22


def check_matplotlib() -> None:
    """Raise MetricsError where plots cannot be drawn: before anything expensive starts."""
    _figure()


def profiles(steps: Mapping[str, tuple[Sequence[float], Sequence[float]]], distance: str, title: str = "") -> bytes:
    """Adjacent distances along t, one line per sequence: each distance at the middle of its step.

    Args:
        steps: by name, m coefficients and m - 1 distances.
        distance: its name, for the axis.
    """
    figure = _figure()
    axes = figure.subplots()
    many = len(steps) > MANY
    for name, (t, distances) in steps.items():
        middles = [(a + b) / 2 for a, b in itertools.pairwise(t)]
        if many:
            axes.plot(middles, distances, color="tab:blue", alpha=0.25, linewidth=0.8)
        else:
            axes.plot(middles, distances, marker="o", markersize=4, label=_plain(name))
    if many and len({len(distances) for _, distances in steps.values()}) == 1:
        every = [distances for _, distances in steps.values()]
        means = [sum(column) / len(every) for column in zip(*every, strict=True)]
        first = next(iter(steps.values()))[0]
        middles = [(a + b) / 2 for a, b in itertools.pairwise(first)]
        axes.plot(middles, means, color="black", marker="o", label=f"mean of {len(every)} (at the first one's t)")
    axes.set(xlabel="t, at the middle of each step", xlim=(0, 1), ylabel="distance of adjacent frames")
    axes.set_ylim(bottom=0)
    axes.set_title(_heading(title, distance), fontsize=9)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return _png(figure)


def boxes(values: Mapping[str, Sequence[float]], distance: str, what: str, title: str = "") -> bytes:
    """One box per name, with every value as a dot.

    Args:
        what: said along the axis of names.
    """
    figure = _figure()
    axes = figure.subplots()
    axes.boxplot(list(values.values()), tick_labels=[_plain(name) for name in values], showfliers=False)
    for place, found in enumerate(values.values(), start=1):
        spread = [place + 0.12 * ((index * 0.618) % 1 - 0.5) for index in range(len(found))]
        axes.plot(spread, found, ".", color="tab:blue", alpha=0.5, markersize=4)
    axes.set(xlabel=what, ylabel="distance")
    axes.set_ylim(bottom=0)
    axes.set_title(_heading(title, distance), fontsize=9)
    axes.grid(alpha=0.3, axis="y")
    if len(values) > 6 or any(len(name) > 12 for name in values):
        axes.tick_params(axis="x", labelsize=8)
    return _png(figure)


def strips(measured: Sequence[Measured]) -> bytes:
    """A row of frames per sequence, its name and smoothness above, the two most unlike neighbours framed in red."""
    rows = [_strip(sequence) for sequence in measured]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return png_bytes(sheet)


def _strip(sequence: Measured) -> Image.Image:
    images = sequence.small
    scale = SMALL / max(images[0].size)
    width, height = (max(1, round(side * scale)) for side in images[0].size)
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    row = Image.new("RGB", (len(images) * (width + _GAP) + _GAP, height + _LABEL + 2 * _GAP), "white")
    draw = ImageDraw.Draw(row)
    steps = sequence.steps
    first, second = steps.worst_pair
    label = f"{sequence.name}   smoothness {steps.smoothness:.3f}   largest step {steps.largest_step:.4f}"
    draw.text((_GAP, 5), label, fill="black", font=ImageFont.load_default(size=12))
    for index, image in enumerate(images):
        row.paste(image.resize((width, height), method), (_GAP + index * (width + _GAP), _LABEL + _GAP))
    left, right = _GAP + first * (width + _GAP), _GAP + second * (width + _GAP) + width
    draw.rectangle((left - 3, _LABEL + 1, right + 2, _LABEL + 2 * _GAP + height - 2), outline=MARK, width=3)
    return row


def _figure() -> Any:
    with naming_extra("a plot", MetricsError):
        from matplotlib.figure import Figure

    return Figure(figsize=SIZE, layout="constrained")


def _heading(title: str, distance: str) -> str:
    return f"{title}; distance: {_plain(distance)}" if title else f"distance: {_plain(distance)}"


def _plain(text: str) -> str:
    """Matplotlib reads dollar signs as mathematics, and hides names that start with an underscore."""
    return text.replace("$", r"\$").lstrip("_") or "sequence"


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()


def png_bytes(image: Image.Image) -> bytes:
    """A PIL image as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()

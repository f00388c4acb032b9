"""Report of an evaluation: `evaluation.json`, `evaluation.md` and plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...atomic_files import write_atomically, write_json
from ...metrics.intervals import Estimate
from .. import plots
from .measure import Measured

STRIPS = 24  # sequences shown; the least smooth ones first


def write_report(out: Path, result: dict[str, Any], measured: Sequence[Measured], with_plots: bool = True) -> list[str]:
    """Write all files into `out`; returns their names.

    Raises:
        MetricsError: plots without matplotlib.
    """
    images: dict[str, bytes] = {}
    if with_plots:
        named = {sequence.name: sequence for sequence in measured}
        steps = {name: (s.coefficients, s.steps.distances) for name, s in named.items()}
        said = result["instruments"]["distance"]
        images["distances.png"] = plots.profiles(steps, said)
        boxes = {f"{index}-{index + 1}": [s.steps.distances[index] for s in measured] for index in _steps(measured)}
        images["boxes.png"] = plots.boxes(boxes, said, "between frames")
        images["strips.png"] = plots.strips(worst_first(measured)[:STRIPS])
    files = {**images, "evaluation.md": page(result, sorted(images)).encode()}
    for name, content in files.items():
        write_atomically(out / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
    write_json(out / "evaluation.json", result)
    return [*files, "evaluation.json"]


def worst_first(measured: Sequence[Measured]) -> list[Measured]:
    """By smoothness, the least smooth first."""
    return sorted(measured, key=lambda sequence: sequence.steps.smoothness)


def page(result: dict[str, Any], images: Sequence[str] = ()) -> str:
    """`evaluation.md`."""
    said, summary = result["instruments"], result["summary"]
    rows = summary["rows"]
    counts = rows["sequences"]["images"]
    lines = [
        "# Evaluation",
        "",
        f"{summary['count']} sequence(s) of {summary['frames']} frames. Preset {said['preset']}: steps by "
        f"**{said['distance']}** (reads {said['distance_reads']}), fidelity by **{said['features']}**; frames "
        f"{said['frames']}. Figures of other distances or features cannot be compared with these. Intervals are 95 %.",
        "",
        "| | smoothness ↑ | consistency ↓ | largest step ↓ | path / endpoints | FID ↓ | KID x 1000 ↓ |",
        "|---|---|---|---|---|---|---|",
        _line("these", rows["sequences"]),
        _line("*pixel cross-fade*", rows["cross-fade"]),
        "",
        "A cross-fade is likely to be the smoother and more consistent one: only fidelity tells it apart. FID and KID "
        f"compare {counts[1]} interior frames with {counts[0]} endpoints.",
    ]
    if rows["sequences"]["few_images"]:
        lines.append("That is fewer than there are features: FID is far from its limit here and says little.")
    if "clip_scores" in summary:
        scores = "; ".join(
            f"{'prompt ' if name != 'guide' else ''}{name} {Estimate(**figures).text(2)}"
            for name, figures in summary["clip_scores"].items()
        )
        lines += ["", f"CLIP score (100 cos) of the interior frames with {scores}."]
    missing = [sequence for sequence in result["sequences"] if "clip_scores_missing" in sequence]
    if missing:
        lines += ["", f"No CLIP scores of {len(missing)} sequence(s): {_cell(missing[0]['clip_scores_missing'])}."]
    lines += [
        "",
        "| sequence | smoothness | consistency | largest step | between frames | cross-fade: smoothness, consistency |",
        "|---|---|---|---|---|---|",
    ]
    for sequence in result["sequences"]:
        first, second = sequence["worst_pair"]
        faded = sequence["cross_fade"]
        cells = (
            _cell(sequence["name"]),
            f"{sequence['smoothness']:.4f}",
            f"{sequence['consistency']:.4f}",
            f"{sequence['largest_step']:.4f}",
            f"{first} and {second}",
            f"{faded['smoothness']:.4f}, {faded['consistency']:.4f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    for name in images:
        lines += ["", f"![{name.removesuffix('.png')}]({name})"]
    return "\n".join(lines) + "\n"


def _line(title: str, row: dict[str, Any]) -> str:
    kid = {key: value if key == "count" or value is None else 1000 * value for key, value in row["kid"].items()}
    cells = (
        title,
        *(Estimate(**row[name]).text() for name in ("smoothness", "consistency", "largest_step")),
        Estimate(**row["path_ratio"]).text(2) if row["path_ratio"] else "endpoints are equal",
        Estimate(**row["fid"]).text(2),
        Estimate(**kid).text(2),
    )
    return "| " + " | ".join(cells) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _steps(measured: Sequence[Measured]) -> range:
    return range(measured[0].steps.frames - 1)

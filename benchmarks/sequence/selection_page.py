"""Page of the selection study: means over pairs, differences within them, and the cost."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from aid_pipeline.metrics.intervals import Estimate, bootstrap_mean
from benchmarks.common import machine

COST_LIMIT = 1.6
METHODS = ("uniform", "dynamic")


def paired(rows: Sequence[dict[str, Any]], figure: str) -> tuple[Estimate, Estimate, Estimate]:
    """Means of both methods and of their difference within each pair."""
    uniform, dynamic = ([row[method][figure] for row in rows] for method in METHODS)
    differences = [b - a for a, b in zip(uniform, dynamic, strict=True)]
    return bootstrap_mean(uniform), bootstrap_mean(dynamic), bootstrap_mean(differences)


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """What the pairs say together."""
    rows = result["rows"]
    figures = [f"{figure} {name}" for figure in ("smoothness", "consistency") for name in ("own", "pixels")]
    ratios = {what: [row["dynamic"][what] / row["uniform"][what] for row in rows] for what in ("rows", "seconds")}
    return {
        "figures": {
            figure: {
                name: estimate.figures()
                for name, estimate in zip((*METHODS, "difference"), paired(rows, figure), strict=True)
            }
            for figure in figures
        },
        "cost": max(ratios["rows"]),
        "time": statistics.median(ratios["seconds"]),
        "longest": max(ratios["seconds"]),
        "together": sum(row["dynamic"]["seconds"] for row in rows) / sum(row["uniform"]["seconds"] for row in rows),
        "slow": sum(ratio > COST_LIMIT for ratio in ratios["seconds"]),
        "pairs": len(rows),
        "smoother": sum(row["dynamic"]["smoothness own"] > row["uniform"]["smoothness own"] for row in rows),
        "jumps": sum(bool(row["jumps"]) for row in rows),
    }


def page(result: dict[str, Any]) -> str:
    """`selection.md`."""
    told, settings = summary(result), result["settings"]
    most = settings["per_round"]
    rounds = "two rounds" if most is None else f"at most {most} frames a round"
    lines = [
        "# Dynamic selection against uniform coefficients",
        "",
        f"{machine.line(result['machine'])}. {settings['model']} "
        f"({'trained' if result['trained'] else 'RANDOM'} weights), {told['pairs']} random pairs of "
        f"{settings['prompts']}, {settings['frames']} frames, {settings['steps']} steps, {settings['mode']}, warm-up "
        f"{settings['warmup']:g}, placing {settings['placing']}, {rounds}. Means over pairs with 95 % bootstrap "
        "intervals; differences within pairs.",
        "",
        f'"own" is the distance selection evens out: {settings["distance"]}. "pixels" is the root mean square '
        "difference of colours, which selection never saw. Smoothness: higher is better; consistency: lower is.",
        "",
        "| figure | uniform | dynamic | difference |",
        "|---|---|---|---|",
    ]
    for figure, by_method in told["figures"].items():
        cells = [Estimate(**by_method[name]).text() for name in (*METHODS, "difference")]
        lines.append(f"| {figure} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Smoother in {told['smoother']} of {told['pairs']} pairs. Pairs with a transition reported as a jump: "
        f"{told['jumps']}.",
        "",
        f"Cost, in multiples of the uniform sequence's (limit {COST_LIMIT}): denoiser rows at most {told['cost']:.3f}; "
        f"seconds of the whole call {told['time']:.2f} in the median, {told['together']:.2f} all pairs together, above "
        f"the limit in {told['slow']} of {told['pairs']} pairs, at most {told['longest']:.2f} (each timed once).",
        "",
        f"Made by `{result['command']}`.",
    ]
    return "\n".join(lines) + "\n"

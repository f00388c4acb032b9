"""Aggregation: every complete pair of every trial into one table, and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aid_pipeline.errors import MetricsError
from aid_pipeline.metrics.fidelity import fidelity
from aid_pipeline.metrics.intervals import Estimate
from aid_pipeline.metrics.step_distances import check_comparable
from aid_pipeline.studies.comparison.methods import ABLATION, CROSS_FADE, MAIN, Method
from aid_pipeline.studies.evaluation.measure import means

from .claims import EQUAL_SPACING, LEAST, PAPER_TABLE, check_claims
from .unit import Unit

VERDICTS = ("holds", "does not hold", "not decided")
RESAMPLES = 200  # of sets of images, whose FID takes a while


def summarise(
    units: Sequence[Unit], methods: Mapping[str, Method], features: str, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """All figures of the units that have every method, and the paper's claims.

    Args:
        units: in the order of work.
        methods: rows of the table.
        features: name of the features.
        resamples: for the intervals of FID and KID.

    Raises:
        MetricsError: no complete unit yet.
        IncomparableError: units of sequences of different lengths.
    """
    complete = [unit for unit in units if unit.endpoints is not None and not unit.missing(methods)]
    if not complete:
        raise MetricsError("no pair has been sampled with every method yet, so there is nothing to put in a table")
    check_comparable([steps for unit in complete for steps in unit.steps.values()])
    endpoints = [unit.endpoints for unit in complete if unit.endpoints is not None]
    trials: dict[int, int] = {}
    for unit in complete:
        trials[unit.pair.trial] = trials.get(unit.pair.trial, 0) + 1
    rows = {}
    for name, method in methods.items():
        steps = [unit.steps[name] for unit in complete]
        faithful = fidelity(endpoints, [unit.interior[name] for unit in complete], features, resamples)
        rows[name] = {
            "title": method.title,
            "what": method.describe(),
            **means(steps, faithful),
        }
    return {
        "sequences": len(complete),
        "pairs_by_trial": trials,
        "pictures": dict(zip(("endpoints", "interior", "all_interior"), faithful.counts, strict=True)),
        "few": faithful.few,
        "methods": rows,
        "claims": check_claims(complete, methods, resamples),
        "equal_spacing": check_claims(complete, methods, resamples, EQUAL_SPACING),
    }


def sequences_csv(units: Sequence[Unit], methods: Mapping[str, Method]) -> str:
    """One line per sequence, so that every mean can be made again."""
    lines = ["trial,pair,seed,method,smoothness,consistency,largest_step,endpoint_distance"]
    for unit in units:
        for name in methods:
            if name in unit.steps:
                steps = unit.steps[name]
                figures = (steps.smoothness, steps.consistency, steps.largest_step, steps.endpoint_distance)
                numbers = ",".join(f"{figure:.6f}" for figure in figures)
                lines.append(f"{unit.pair.trial},{unit.pair.index},{unit.pair.seed},{name},{numbers}")
    return "\n".join(lines) + "\n"


def page(result: dict[str, Any]) -> str:
    """`paper.md`."""
    summary, settings = result["summary"], result["settings"]
    trials = ", ".join(f"{count} in trial {trial}" for trial, count in summary["pairs_by_trial"].items())
    said = settings["instruments"]
    lines = [
        f"# The paper's comparison on {settings['model']['name']}",
        "",
        f"{summary['sequences']} sequences a method ({trials}; {result['asked']['pairs']} x "
        f"{result['asked']['trials']} asked for) between random prompts ({settings['prompts']}), "
        f"{settings['frames']} frames, {settings['num_inference_steps']} steps, guidance "
        f"{settings['guidance_scale']:g}, warm-up {settings['warmup']:g}, {settings['noise']}; all methods of a pair "
        "from the same noise, with the same endpoints.",
        "",
        f"Measured with: steps by **{said['distance']}**, fidelity by **{said['features']}**, frames {said['frames']}.",
        *_warnings(summary, said),
        f"The Beta prior ({settings['beta']}) was {settings['beta_from']}.",
        "Intervals are 95 %, by bootstrap over sequences.",
        "",
        *main_rows(summary),
        "",
        *_beside_the_cross_fade(summary["methods"]),
        "FID compares as many interior frames as endpoints",
        f'({summary["pictures"]["interior"]} and {summary["pictures"]["endpoints"]} images); "all" takes all '
        f"{summary['pictures']['all_interior']} interior frames, as the paper did, and its bias with it.",
        "",
        "## Ablation",
        "",
        *_rows(summary, [name for name in ("tei", *ABLATION, "aid-o", "aid-i") if name in summary["methods"]]),
        "",
        "## Which of the paper's orderings hold here",
        "",
        *claim_rows(summary),
        "",
        *_equal_spacing(summary),
        "## The paper's own figures",
        "",
        *papers_rows(),
        "",
        f"Machine: {result['machine_line']}.",
        f"Made by `{result['command']}`.",
        "",
    ]
    return "\n".join(lines)


def main_rows(summary: dict[str, Any]) -> list[str]:
    """Table 1 as it is here."""
    return _rows(summary, [name for name in MAIN if name in summary["methods"]])


def papers_rows() -> list[str]:
    """Table 1 as it is in the paper."""
    lines = [
        "Of Stable Diffusion 1.4 at 512x512, with LPIPS-VGG16 and Inception: **another model, other prompts, another",
        "distance and other features**. Their orderings may be compared with the above, their values may not.",
        "",
        "| | | smoothness ↑ | consistency ↓ | fidelity (FID) ↓ |",
        "|---|---|---|---|---|",
    ]
    for data, methods in PAPER_TABLE.items():
        for method, (smooth, consistent, fid) in methods.items():
            lines.append(f"| {data} | {method} | {smooth:.4f} | {consistent:.4f} | {fid:.2f} |")
    return lines


def _warnings(summary: dict[str, Any], said: dict[str, Any]) -> list[str]:
    lines = []
    if not said["distance"].startswith("LPIPS") or not said["features"].startswith("Inception"):
        lines.append("These are not LPIPS-VGG or Inception figures.")
    if summary["few"]:
        lines.append("There are fewer images than features, so FID is far from its limit; trust KID.")
    return lines


def _beside_the_cross_fade(rows: Mapping[str, Any]) -> list[str]:
    """Where the cross-fade beats every method, as these figures have it."""
    if CROSS_FADE not in rows or len(rows) < 2:
        return []
    fade, others = rows[CROSS_FADE], [row for name, row in rows.items() if name != CROSS_FADE]
    won = [
        metric
        for metric, sign in (("smoothness", 1), ("consistency", -1), ("fid", -1))
        if all(sign * fade[metric]["value"] > sign * row[metric]["value"] for row in others)
    ]
    named = " and ".join(metric.replace("fid", "FID") for metric in won) or "nothing"
    return [f"The pixel cross-fade beats every method on {named}: no column says enough without the others."]


def _rows(summary: dict[str, Any], names: Sequence[str]) -> list[str]:
    lines = [
        "| method | what is on | smoothness ↑ | consistency ↓ | FID ↓ | FID, all | KID x 1000 ↓ |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        row = summary["methods"][name]
        kid = {key: value if key == "count" or value is None else 1000 * value for key, value in row["kid"].items()}
        cells = (
            f"*{row['title']}*" if name == CROSS_FADE else row["title"],
            row["what"],
            Estimate(**row["smoothness"]).text(),
            Estimate(**row["consistency"]).text(),
            Estimate(**row["fid"]).text(2),
            f"{row['fid_all']:.2f}",
            Estimate(**kid).text(2),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def claim_rows(summary: dict[str, Any]) -> list[str]:
    """The paper's claims and whether they hold here."""
    lines = ["| the paper says | of | difference | here |", "|---|---|---|---|", *_differences(summary, "claims")]
    hold, fail, open_ = (sum(claim["verdict"] == verdict for claim in summary["claims"]) for verdict in VERDICTS)
    return [
        *lines,
        "",
        f"Of {len(summary['claims'])} orderings {hold} hold, {fail} do not, {open_} are not decided (the interval of "
        f"the difference includes zero, or there are fewer than {LEAST} sequences).",
    ]


def _equal_spacing(summary: dict[str, Any]) -> list[str]:
    rows = _differences(summary, "equal_spacing")
    if not rows:
        return []
    return [
        "## Attention and spacing apart",
        "",
        "Table 1 sets AID, whose frames the Beta prior places, beside TEI, whose frames lie evenly, and the prior has",
        "an effect of its own. So the same once more, AID and TEI at the same spacing. The paper has no such rows;",
        "those of consistency and FID were added when part of the above was known, those of smoothness when all was.",
        "",
        "| difference | of | | here |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _differences(summary: dict[str, Any], which: str) -> list[str]:
    lines = []
    titles = {name: row["title"] for name, row in summary["methods"].items()}
    for claim in summary[which]:
        sign = ">" if claim["metric"] == "smoothness" else "<"
        said = f"{claim['metric']}: {titles[claim['better']]} {sign} {titles[claim['worse']]}"
        verdict = claim["verdict"] if claim["verdict"] != "does not hold" else "**does not hold**"
        lines.append(f"| {said} | {claim['source']} | {Estimate(**claim['difference']).text()} | {verdict} |")
    return lines

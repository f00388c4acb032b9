"""`python -m benchmarks.paper.precision FOLDER OTHER --out OUT`: do the comparison's orderings depend on the dtype?

Two folders of `benchmarks.paper`, equal but for the dtype of the model. The sequences that are in both are compared,
each with itself, and every ordering is taken once from either.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aid_pipeline.atomic_files import write_json, write_text
from aid_pipeline.errors import AIDError, ArgumentError
from aid_pipeline.metrics.intervals import Estimate, bootstrap_mean
from aid_pipeline.studies.comparison.methods import Method, all_methods
from benchmarks.common import machine

from .arguments import prior_of
from .claims import CLAIMS, EQUAL_SPACING, check_claims
from .pairs import draw_pairs
from .store import SETTINGS, Store, sources_of
from .table import RESAMPLES
from .unit import Unit

MEASURES = ("smoothness", "consistency")


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Unit]]:
    """Settings of a run, and what it measured, by the pair's name. Raises OutputFolderError, ArgumentError."""
    try:
        settings = json.loads((folder / SETTINGS).read_text("utf-8"))
    except OSError as error:
        raise ArgumentError(f"{folder} is not a folder of benchmarks.paper ({error})") from error
    store = Store(folder, settings, str(settings["instruments"]["distance"]))
    names = store.names()
    if not names:
        raise ArgumentError(f"{folder} holds no sequences yet")
    trials, pairs = (1 + max(int(name.split("-")[part]) for name in names) for part in (0, 1))
    drawn = draw_pairs(settings["prompts"], pairs, trials)
    return settings, {pair.name: store.read(pair) for pair in drawn if pair.name in names}


def check_settings(first: dict[str, Any], second: dict[str, Any]) -> tuple[str, str]:
    """The two dtypes of settings that agree in all that decides the figures but them. Raises ArgumentError."""

    def rest(settings: dict[str, Any]) -> dict[str, Any]:
        model = {name: value for name, value in settings["model"].items() if name != "dtype"}
        return {**settings, "model": model, "beta_from": None}  # the same prior, wherever it is from

    a, b = rest(first), rest(second)
    other = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    if other:
        raise ArgumentError(f"the folders differ in more than the dtype: {', '.join(other)}")
    dtypes = first["model"]["dtype"], second["model"]["dtype"]
    if dtypes[0] == dtypes[1]:
        raise ArgumentError(f"both folders were sampled in {dtypes[0]}; give two dtypes")
    return dtypes


def compare(
    first: Sequence[Unit], second: Sequence[Unit], methods: Mapping[str, Method], resamples: int
) -> dict[str, Any]:
    """Second less first, sequence by sequence, and every ordering in both."""
    changes: dict[str, dict[str, Any]] = {}
    for measure in MEASURES:
        for name in methods:
            pairs = [(getattr(a.steps[name], measure), getattr(b.steps[name], measure))
                     for a, b in zip(first, second, strict=True)]  # fmt: skip
            changes.setdefault(name, {})[measure] = bootstrap_mean([b - a for a, b in pairs]).figures()
    orderings = []
    for one, two in zip(
        *(check_claims(u, methods, resamples, CLAIMS + EQUAL_SPACING) for u in (first, second)), strict=True
    ):
        shared = {key: one[key] for key in ("metric", "better", "worse", "source")}
        orderings.append({**shared, "of": [{key: c[key] for key in ("difference", "verdict")} for c in (one, two)]})
    return {"sequences": len(first), "changes": changes, "orderings": orderings}


def page(result: dict[str, Any]) -> str:
    """`precision.md`."""
    first, second = result["dtypes"]
    methods = all_methods(prior_of(result["beta"]))
    titles = {name: methods[name].title for name in result["changes"]}
    lines = [
        f"# The comparison in {second} beside {first}",
        "",
        f"{result['sequences']} sequences a method, those that were made in both; measures as in the comparison. 95 % "
        "intervals, by bootstrap over sequences.",
        "",
        f"## What {second} changes",
        "",
        f"Mean of {second} less {first}, sequence by sequence.",
        "",
        "| method | smoothness | consistency |",
        "|---|---|---|",
    ]
    for name, change in result["changes"].items():
        lines.append(f"| {titles[name]} | " + " | ".join(Estimate(**change[m]).text() for m in MEASURES) + " |")
    lines += [
        "",
        "## Every ordering in both",
        "",
        "Of these few sequences alone; the whole comparison decides, this says whether the dtype moves it.",
        "",
        f"| ordering | of | {first} | {second} |",
        "|---|---|---|---|",
    ]
    for row in result["orderings"]:
        sign = ">" if row["metric"] == "smoothness" else "<"
        cells = [f"{Estimate(**found['difference']).text()}, {found['verdict']}" for found in row["of"]]
        lines.append(
            f"| {row['metric']}: {titles[row['better']]} {sign} {titles[row['worse']]} | {row['source']} | "
            + " | ".join(cells) + " |"
        )  # fmt: skip
    same = sum(len({found["difference"]["value"] > 0 for found in row["of"]}) == 1 for row in result["orderings"])
    lines += [
        "",
        f"Of {len(result['orderings'])} differences {same} have the same sign in both.",
        "",
        f"Machine: {result['machine_line']}.",
        f"Made by `{result['command']}`.",
        "",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper.precision", description=__doc__)
    parser.add_argument("folder", type=Path, help="of python -m benchmarks.paper")
    parser.add_argument("other", type=Path, help="the same with another --dtype")
    parser.add_argument("--out", type=Path, required=True, help="folder for precision.json and precision.md")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="for intervals of FID and KID")
    options = parser.parse_args(arguments)
    try:
        (first, before), (second, again) = read_folder(options.folder), read_folder(options.other)
        dtypes = check_settings(first, second)
        known = all_methods(prior_of(first["beta"]), first["warmup"])
        both = [name for name in before if name in again]
        if not both:
            raise ArgumentError("no pair was sampled in both folders")
        methods = {
            name: method for name, method in known.items()
            if all(name in units[pair].steps for units in (before, again) for pair in both)
        }  # fmt: skip
        if not methods:
            raise ArgumentError("no method was sampled for all the pairs of both folders")
        described = machine.describe()
        result = {
            "command": f"python -m benchmarks.paper.precision {options.folder.name} {options.other.name}",
            "machine": described,
            "machine_line": machine.line(described),
            "sources": sources_of(options.folder),
            "dtypes": dtypes,
            "beta": first["beta"],
            **compare([before[name] for name in both], [again[name] for name in both], methods, options.resamples),
        }
    except AIDError as error:
        raise SystemExit(f"error: {error}") from error
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "precision.json", result)
    write_text(options.out / "precision.md", page(result))
    print(page(result))


if __name__ == "__main__":
    main()

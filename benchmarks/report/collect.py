"""Committed results, read from benchmarks/results, and what of them is stale."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import machine
from benchmarks.common.result_files import Result
from benchmarks.common.sources import Tree

MOST_NAMED = 6


@dataclass(frozen=True)
class Results:
    """All committed results.

    Attributes:
        tree: the code as it is now.
        cpu: by name, "operator", "sequence", "denoiser", "throughput", "selection"; those that exist.
        gpu: by folder, results.json of a GPU run.
        compiled: lines of the compile report.
        beside: results that no section shows, by their place: the selection of more rounds, the precision study, and
            digests of what the compile report compiled.
        paper: the paper's comparison.
    """

    tree: Tree
    cpu: dict[str, Result]
    gpu: dict[str, Result]
    compiled: list[dict[str, str]]
    beside: dict[str, Result]
    paper: Result | None = None

    def stale(self, result: Result) -> str:
        """A paragraph if the code that a result speaks of has changed since, or it does not say what that was."""
        if "sources" not in result:
            return "**Stale**: it does not say which sources it was measured with.\n\n"
        changed = self.tree.changed(result["sources"])
        if not changed:
            return ""
        named = ", ".join(f"`{name}`" for name in changed[:MOST_NAMED])
        more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
        anew = f"; `{result['command']}` makes it anew" if "command" in result else ""
        return f"**Stale**: {named}{more} changed since it was measured{anew}.\n\n"

    def all(self) -> Iterator[tuple[str, Result]]:
        """Every result, by its place under benchmarks/results."""
        for name, result in self.cpu.items():
            yield f"cpu/{name}", result
            if "memory" in result:
                yield f"cpu/{name}, memory", {"command": f"{result['command']} --only memory"} | result["memory"]
        yield from self.beside.items()
        if self.paper is not None:
            yield "paper/paper", self.paper
        yield from ((f"{folder}/results", result) for folder, result in self.gpu.items())


def read(root: Path = machine.ROOT) -> Results:
    """Everything under `root`/benchmarks/results.

    Raises:
        ValueError: a smoke run among the results.
    """
    folder = root / "benchmarks" / "results"
    compiled, lines = folder / "compile_report" / "compile_report.csv", []
    if compiled.is_file():
        with compiled.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
    beside = {
        path.relative_to(folder).with_suffix("").as_posix(): _load(path)
        for path in (folder / "cpu" / "per_round" / "selection.json", folder / "paper" / "precision.json")
        if path.is_file()
    }
    digests = folder / "compile_report" / "sources.json"
    if digests.is_file():
        command = "python -m benchmarks.compile_report"
        beside["compile_report/compile_report"] = {"command": command, "sources": _load(digests)}
    paper = folder / "paper" / "paper.json"
    return Results(
        tree=Tree.read(root),
        cpu={path.stem: _load(path) for path in sorted((folder / "cpu").glob("*.json"))},
        gpu={path.parent.name: _load(path) for path in sorted(folder.glob("*/results.json"))},
        compiled=lines,
        beside=beside,
        paper=_load(paper) if paper.is_file() else None,
    )


def _load(path: Path) -> Any:
    result = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(result, dict) and result.get("smoke"):
        raise ValueError(f"{path} is of a smoke run, which measures nothing; remove it from the results")
    return result


def table(head: Sequence[object], rows: Sequence[Sequence[object]], numbers_from: int) -> str:
    """A Markdown table; columns from `numbers_from` on stand at the right."""
    rule = ["---" if column < numbers_from else "--:" for column in range(len(head))]
    return "".join("| " + " | ".join(map(str, cells)) + " |\n" for cells in [head, rule, *rows])

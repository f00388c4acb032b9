"""Reads what is committed under benchmarks/results, and says what of it is stale."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import machine, sources

Result = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """All committed results.

    Attributes:
        root: of the repository.
        cpu: by name, "operator", "sequence", "denoiser", "throughput"; those that exist.
        gpu: by folder, results.json of a GPU run.
        compiled: lines of the compile report, and the digests of what it compiled.
        paper: the paper's comparison.
    """

    root: Path
    cpu: dict[str, Result]
    gpu: dict[str, Result]
    compiled: list[dict[str, str]]
    compiled_sources: dict[str, str]
    paper: Result | None = None

    def stale(self, result: Result) -> str:
        """A paragraph if the code that a result speaks of has changed since, or it does not say what that was."""
        if "sources" not in result:
            return "**Stale**: it does not say which sources it was measured with.\n\n"
        changed = sources.changed(result["sources"], self.root)
        if not changed:
            return ""
        files = ", ".join(f"`{Path(path).name}`" for path in changed)
        made = f"; `{result['command']}` makes it anew" if "command" in result else ""
        return f"**Stale**: the code of {files} has changed since{made}.\n\n"


def read(root: Path = machine.ROOT) -> Results:
    """Everything under `root`/benchmarks/results.

    Raises:
        ValueError: a smoke run among the results.
    """
    folder = root / "benchmarks" / "results"
    cpu = {path.stem: _load(path) for path in sorted((folder / "cpu").glob("*.json"))}
    gpu = {path.parent.name: _load(path) for path in sorted(folder.glob("*/results.json"))}
    compiled, digests = folder / "compile_report" / "compile_report.csv", folder / "compile_report" / "sources.json"
    lines = []
    if compiled.is_file():
        with compiled.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
    paper = folder / "paper" / "paper.json"
    return Results(
        root,
        cpu,
        gpu,
        lines,
        _load(digests) if digests.is_file() else {},
        _load(paper) if paper.is_file() else None,
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

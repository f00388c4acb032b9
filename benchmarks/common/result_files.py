"""Files of results: what every one says of itself, and how it is written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aid_pipeline.atomic_files import write_text
from benchmarks.common import machine, sources
from benchmarks.common.machine import ROOT
from benchmarks.common.settings import BenchmarkSettings, Row

RESULTS = ROOT / "benchmarks" / "results"
CPU = RESULTS / "cpu"

Result = dict[str, Any]
"""`command`, `machine`, `sources`, whether it is `smoke`, and what was measured."""


def new(command: str, settings: BenchmarkSettings, patterns: Iterable[str]) -> Result:
    """A result before anything is measured; `patterns` as `sources.recorded`."""
    return {
        "command": command,
        "machine": machine.describe(),
        "sources": sources.recorded(patterns),
        "smoke": settings.smoke,
        "dtype": str(settings.dtype).removeprefix("torch."),
    }


def printed(rows: Iterable[Row]) -> list[Row]:
    """All rows, each printed as it comes."""
    seen = []
    for row in rows:
        print(
            ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else str(value) for name, value in row.items())
        )
        seen.append(row)
    return seen


def write(result: Result, folder: Path, name: str, page: str) -> None:
    """NAME.json and, to read, NAME.md.

    Raises:
        ValueError: a smoke run among the committed results.
    """
    if result["smoke"] and folder.resolve().is_relative_to(RESULTS):
        raise ValueError(f"a smoke run is no result; write it elsewhere than {folder} (--out)")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.json", json.dumps(result, indent=1) + "\n")
    write_text(folder / f"{name}.md", page)
    print(page)

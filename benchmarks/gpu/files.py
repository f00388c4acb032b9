"""The folder of a GPU run: rows as CSV and JSON, rewritten as they come, plots, logs; whole at any moment."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

from aid_pipeline.atomic_files import write_text
from benchmarks.common.result_files import RESULTS
from benchmarks.common.settings import Row
from benchmarks.gpu import charts

MOST_FILES, MOST_BYTES = 8, 16 * 2**20
REWRITE_SECONDS = 5.0
TABLE, DATA, LOG = "results.csv", "results.json", "correctness.log"
CHARTS = {"achieved.svg": charts.achieved, "speedup.svg": charts.speedup, "memory.svg": charts.memory}
OURS = {TABLE, DATA, LOG, *CHARTS}


class RunFolder:
    """Collects rows and keeps the files up to date.

    Args:
        folder: made if missing; may hold an earlier run's files, which go, and nothing else.
        about: what results.json says beside the rows: command, machine, sources, smoke.
        tuned: name of the file of tuned configurations.

    Raises:
        ValueError: a smoke run among the committed results, or a folder that holds anything else.
    """

    def __init__(self, folder: Path, about: dict[str, Any], tuned: str) -> None:
        check_folder(folder, {*OURS, tuned}, smoke=about["smoke"])
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*OURS, tuned):
            (folder / name).unlink(missing_ok=True)
        self.folder, self.about, self.tuned = folder, about, tuned
        self.rows: list[Row] = []
        self._written = 0.0

    def add(self, row: Row) -> None:
        self.rows.append({**row, "smoke": True} if self.about["smoke"] else row)
        if time.monotonic() - self._written > REWRITE_SECONDS:
            self.write()

    def write(self) -> None:
        """CSV and JSON, each replaced as a whole."""
        self._replace(DATA, json.dumps({**self.about, "rows": self.rows}, indent=1) + "\n")
        self._replace(TABLE, table(self.rows))
        self._written = time.monotonic()

    def write_log(self, text: str) -> None:
        note = "A smoke run, on a CPU: no GPU was tested.\n\n" if self.about["smoke"] else ""
        self._replace(LOG, note + text[-MOST_BYTES // 4 :])

    def finish(self) -> None:
        """The plots, and a last look at number and size of the files.

        Raises:
            RuntimeError: more than 8 files or 16 MB.
        """
        self.write()
        for name, draw in CHARTS.items():
            self._replace(name, draw(self.rows, self.about["machine"]["gpu"], smoke=self.about["smoke"]))
        files = [path for path in self.folder.iterdir() if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        if len(files) > MOST_FILES or size > MOST_BYTES:
            raise RuntimeError(f"{self.folder} has {len(files)} files of {size} bytes, over {MOST_FILES}, {MOST_BYTES}")

    def _replace(self, name: str, text: str) -> None:
        write_text(self.folder / name, text)


def check_folder(folder: Path, known: set[str], *, smoke: bool) -> None:
    """Refuse a folder that results would be lost or mixed up in."""
    if smoke and folder.resolve().is_relative_to(RESULTS.resolve()):
        raise ValueError(f"--smoke measures nothing and must not stand among results; {folder} does")
    strangers = sorted(path.name for path in folder.iterdir() if path.name not in known) if folder.is_dir() else []
    if strangers:
        raise ValueError(f"{folder} holds {', '.join(strangers[:5])}; give --out an empty or a new folder")


def table(rows: list[Row]) -> str:
    """All rows, all columns in the order they first come."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

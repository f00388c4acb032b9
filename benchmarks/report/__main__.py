"""`python -m benchmarks.report`: tables and plots of what is committed under benchmarks/results.

Fills in what stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->` in README.md and docs, and draws
docs/plots. Results whose code has changed since are marked stale there. `--check` writes nothing and fails if
any of it is not what it would write.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import machine
from benchmarks.report import collect, cpu, gpu, overview, paper, plots
from benchmarks.report.collect import Results

PAGES = ("README.md", "docs/performance.md", "docs/metrics.md")
PLOTS = "docs/plots"
SECTIONS: dict[str, Callable[[Results], str]] = {
    "cpu-headline": cpu.headline,
    "cpu-operator": cpu.operator,
    "cpu-sequence": cpu.sequence,
    "cpu-denoiser": cpu.whole_denoiser,
    "cpu-throughput": cpu.many_users,
    "gpu": gpu.measured,
    "predictions": gpu.predictions,
    "paper": paper.comparison,
    "results": overview.overview,
}
_SECTION = re.compile(r"<!-- generated: (?P<name>[\w-]+) -->\n.*?<!-- end of (?P<end>[\w-]+) -->", re.DOTALL)


def build(root: Path) -> dict[Path, str]:
    """Every generated file and what it should hold, from the results under `root`.

    Raises:
        ValueError: a page has a section that is unknown or has no end, or a smoke run is among the results.
    """
    results = collect.read(root)
    drawn = dict(plots.draw_all(results))
    files = {root / PLOTS / f"{name}.svg": text for name, text in drawn.items()}
    for page in PAGES:
        path = root / page
        files[path] = fill(path.read_text(encoding="utf-8"), results, list(drawn), page)
    return files


def fill(text: str, results: Results, drawn: list[str], page: str) -> str:
    """A page with its sections generated anew."""

    def section(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in (*SECTIONS, "plots") or match["end"] != name:
            known = ", ".join([*SECTIONS, "plots"])
            raise ValueError(f"{page}: section {name!r} ends as {match['end']!r}; sections are {known}")
        body = _gallery(drawn) if name == "plots" else SECTIONS[name](results)
        return f"<!-- generated: {name} -->\n\n{body.strip()}\n\n<!-- end of {name} -->"

    if text.count("<!-- generated: ") != len(_SECTION.findall(text)):
        raise ValueError(f"{page}: a generated section has no end; close it with <!-- end of NAME -->")
    return _SECTION.sub(section, text)


def differences(files: dict[Path, str], root: Path) -> list[str]:
    """Which files are not what they should be, and plots of results that are gone."""
    wrong = []
    for path, text in files.items():
        committed = path.read_text(encoding="utf-8") if path.is_file() else ""
        if not (plots.same(committed, text) if path.suffix == ".svg" else committed == text):
            wrong.append(path.relative_to(root).as_posix())
    left = set((root / PLOTS).glob("*.svg")) - files.keys()
    return wrong + sorted(path.relative_to(root).as_posix() for path in left)


def _gallery(drawn: list[str]) -> str:
    return "\n\n".join(f"![{name.replace('_', ' ')}](plots/{name}.svg)" for name in drawn) or "No plots yet."


def main(arguments: list[str] | None = None, root: Path = machine.ROOT) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if anything would change")
    options = parser.parse_args(arguments)
    files = build(root)
    wrong = differences(files, root)
    if options.check:
        for name in wrong:
            print(f"{name} is not what the results say; run `python -m benchmarks.report` and commit it")
        return 1 if wrong else 0
    for name in wrong:
        path = root / name
        if path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
        else:
            path.unlink()
        print(f"{'wrote' if path in files else 'removed'} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Page of tested versions: runs tests in this environment, records its versions, and writes the page from the records.

`python -m tools.versions --record [PYTEST ARGUMENTS]` runs the fast tests, or those given, and if all pass adds the
versions of this environment to `docs/versions.json`. Without `--record` it writes the table in `docs/versions.md` from
that file; `--check` fails if the table is not what the file says.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORDS, PAGE = Path("docs/versions.json"), Path("docs/versions.md")
PACKAGES = ("torch", "triton", "diffusers", "transformers", "numpy", "safetensors", "scipy", "pillow", "typer", "rich")
START, END = "<!-- generated: versions -->\n", "<!-- end of versions -->"
FAST = ("-m", "not slow", "tests")


def versions_here() -> dict[str, str]:
    """Versions of Python and of the packages, those that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def record(arguments: list[str], root: Path = ROOT) -> int:
    """Run tests and, if they pass, put this environment among the records; returns pytest's exit code."""
    chosen = arguments or list(FAST)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *chosen], cwd=root, capture_output=True, text=True, check=False
    )
    print(done.stdout[-4000:], done.stderr[-2000:])
    if done.returncode:
        return done.returncode
    passed = int(re.findall(r"(\d+) passed", done.stdout)[-1])
    entry = {
        "versions": versions_here(),
        "machine": f"{platform.system()} {platform.machine()}, {_device()}",
        "tests": " ".join(_quoted(argument) for argument in chosen),
        "passed": passed,
    }
    kept = [each for each in read(root) if each["versions"] != entry["versions"] or each["machine"] != entry["machine"]]
    (root / RECORDS).write_text(json.dumps([*kept, entry], indent=2) + "\n", "utf-8")
    return 0


def read(root: Path = ROOT) -> list[dict[str, Any]]:
    """The records, in the order in which they were made."""
    path = root / RECORDS
    return json.loads(path.read_text("utf-8")) if path.is_file() else []


def table(records: list[dict[str, Any]]) -> str:
    """One row per record, the newest diffusers first; a dash where a package was not installed."""
    names = ("python", *PACKAGES)
    lines = ["| " + " | ".join((*names, "on", "tests passed")) + " |", "|---" * (len(names) + 2) + "|"]
    for entry in sorted(records, key=lambda entry: _number(entry["versions"]), reverse=True):
        cells = [entry["versions"].get(name, "-") for name in names]
        lines.append("| " + " | ".join([*cells, entry["machine"], f"{entry['passed']}: `{entry['tests']}`"]) + " |")
    return "\n".join(lines)


def page(text: str, records: list[dict[str, Any]]) -> str:
    """The page's text with the table between its markers made anew."""
    before, rest = text.split(START)
    return f"{before}{START}\n{table(records)}\n\n{END}{rest.split(END)[1]}"


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.versions", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the page is what the records say")
    parser.add_argument("--record", nargs=argparse.REMAINDER, metavar="PYTEST", help="run these tests and record")
    options = parser.parse_args(arguments)
    if options.record is not None and (code := record(options.record, root)):
        print("tests failed; nothing is recorded", file=sys.stderr)
        return code
    text = (root / PAGE).read_text("utf-8")
    new = page(text, read(root))
    if options.check:
        if new != text:
            print(f"{PAGE} is not what {RECORDS} says; run python -m tools.versions", file=sys.stderr)
        return int(new != text)
    (root / PAGE).write_text(new, "utf-8")
    return 0


def _device() -> str:
    try:
        import torch
    except ModuleNotFoundError:
        return "no torch"
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def _number(versions: dict[str, str]) -> list[list[int]]:
    order = ("diffusers", "torch", "transformers", "python")
    return [[int(part) for part in re.findall(r"\d+", versions.get(name, "0"))] for name in order]


def _quoted(argument: str) -> str:
    return f'"{argument}"' if " " in argument else argument


if __name__ == "__main__":
    sys.exit(main())

"""Table of families: tries pipeline classes on tiny models and writes docs/families.json and docs/families.md.

`python -m tools.families` tries every class, each in a process of its own, and writes the record of each as it comes;
`--resume` leaves out those with a record. Names (`Flux`, `FluxPipeline`) or `--group` try a part and keep the records
of the others. `--page` writes the page from the records alone, `--check` fails if it is not what they say. The exit
status is 1 if any class tried gives wrong frames or ends in an exception that is not the package's own.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .checks import try_class
from .groups import GROUPS, classes, group_of, is_deprecated, without_prompt
from .isolated import each
from .page import END, START, with_table

ROOT = Path(__file__).resolve().parents[2]
RECORDS, PAGE = Path("docs/families.json"), Path("docs/families.md")
PACKAGES = ("diffusers", "transformers", "torch")
FAULTS = ("wrong", "error")
LIMIT = 300.0


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    asked = _parser().parse_args(arguments)
    document = _read(root)
    if asked.page or asked.check:
        return _page(document, root, asked.check)
    found = classes()
    names = _chosen(asked, found)
    if asked.resume:
        names = [name for name in names if name not in document["classes"]]
    torch.set_num_threads(1)
    faulty = []
    for name, record in each(names, try_class, asked.limit, asked.jobs):
        shown = {"group": group_of(name, found[name]), "deprecated": is_deprecated(found[name])}
        document["classes"][name] = shown | record
        print(f"{name}: {record['status']} {record['why']}", flush=True)
        faulty += [name] if record["status"] in FAULTS else []
        if not asked.dry:
            _write(document, root)
    if not asked.dry:
        _page(document, root, check=False)
    if faulty:
        print(f"{len(faulty)} wrong: {', '.join(faulty)}")
    return 1 if faulty else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.families", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="classes; none means all")
    parser.add_argument("--group", choices=GROUPS, help="the classes of one group")
    parser.add_argument("--resume", action="store_true", help="only classes without a record")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    parser.add_argument("--jobs", type=int, default=1, help="classes side by side")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one class")
    parser.add_argument("--page", action="store_true", help="write the page from the records")
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the records say")
    return parser


def _chosen(asked: Any, found: dict[str, type]) -> list[str]:
    """Names of the classes asked for.

    Raises:
        SystemExit: a name that no class has.
    """
    named = [name if name in found else f"{name}Pipeline" for name in asked.names]
    unknown = [name for name in named if name not in found]
    if unknown:
        raise SystemExit(f"no class {', '.join(unknown)} in diffusers {version('diffusers')} takes a prompt")
    return [name for name in named or found if asked.group in (None, group_of(name, found[name]))]


def _read(root: Path) -> dict[str, Any]:
    path = root / RECORDS
    document: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {"classes": {}}
    return document


def _write(document: dict[str, Any], root: Path) -> None:
    document["versions"] = {name: version(name) for name in PACKAGES}
    document["without_prompt"] = without_prompt()
    document["classes"] = dict(sorted(document["classes"].items()))
    (root / RECORDS).write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def _page(document: dict[str, Any], root: Path, check: bool) -> int:
    path = root / PAGE
    page = path.read_text("utf-8") if path.exists() else f"{START}{END}\n"
    made = with_table(page, document)
    if check:
        if made != page:
            print(f"{PAGE} is not what {RECORDS} says; python -m tools.families --page writes it")
        return int(made != page)
    path.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

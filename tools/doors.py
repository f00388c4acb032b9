"""Doors: the `__init__.py` of each folder, whose docstring names what lives there and what it imports.

A paragraph names every module and folder beside it, in backticks, and of a room its imports in one sentence: "Imports
`a` and `b`.", "Imports no other room.", or "Imports `a` and what is below it." for all on lower floors. Other packages
may be left out of it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tools.imports import Module

FEWEST_SENTENCES = 2
COMMANDS = frozenset({"aid"})
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
_NAMES = re.compile(r"(?<!`)`([a-z_]+)(\.py)?`(?!`)")
_IMPORTS = re.compile(r"(?<!\w)Imports (no other room|[^.]*)\.(?=\s|$)")
_BELOW = "what is below"


def undescribed(root: Path, packages: Iterable[str]) -> list[str]:
    """A line for every folder with Python files whose `__init__.py` is missing or says too little."""
    found: list[str] = []
    for folder in _folders(root, packages):
        name = (folder / "__init__.py").relative_to(root).as_posix()
        text = _paragraph(folder)
        if text is None:
            found.append(f"{name} is missing")
        elif len(_SENTENCE_END.findall(text)) < FEWEST_SENTENCES:
            said = f"says {text.splitlines()[0]!r} alone" if text else "has no docstring"
            found.append(f"{name} {said}; a paragraph says what lives there and which rooms it may import")
    return found


def misdescribed(
    root: Path, packages: Iterable[str], modules: Mapping[str, Module], floors: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """A line for every paragraph that differs from the files and imports of its folder."""
    return [
        f"{(folder / '__init__.py').relative_to(root).as_posix()} {fault}"
        for folder in _folders(root, packages)
        for fault in _faults(root, folder, modules, floors)
    ]


def _faults(
    root: Path, folder: Path, modules: Mapping[str, Module], floors: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    name, text = ".".join(folder.relative_to(root).parts), " ".join((_paragraph(folder) or "").split())
    package, _, room = name.partition(".")
    own = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    own -= {"__init__", "__main__"}
    named = dict(_NAMES.findall(text))
    if unnamed := own - named.keys():
        yield f"does not name {', '.join(sorted(unnamed))}"
    known = {part for module in modules for part in module.split(".")} | COMMANDS
    gone = {each for each, suffix in named.items() if each not in (own if suffix else known)}
    if gone:
        yield f"names {', '.join(sorted(gone))}, which is no module"
    rooms = {each for floor in floors.get(package, ()) for each in floor.split()}
    said = _IMPORTS.search(text)
    if not said:
        if room in rooms:
            yield 'has no sentence "Imports ..." that names the rooms it imports'
        return
    listed = set(re.findall(r"`(\w+)`", said[1]))
    imported, others = _imported(name, modules)
    if wrong := listed - imported - others:
        yield f"says that it imports {', '.join(sorted(wrong))}, and it does not"
    covered = listed | (_below(listed or {room}, floors.get(package, ())) if _BELOW in said[1] else set())
    if unsaid := imported - covered:
        yield f"does not say that it imports {', '.join(sorted(unsaid))}"


def _imported(name: str, modules: Mapping[str, Module]) -> tuple[set[str], set[str]]:
    """What a folder imports: of its package, by the first part that is not of its own name; and other packages."""
    inside: set[str] = set()
    others: set[str] = set()
    for module in modules.values():
        for target in module.imports if f"{module.name}.".startswith(f"{name}.") else ():
            if f"{target}.".startswith(f"{name}."):
                continue
            if modules[target].package != module.package:
                others.add(modules[target].package)
            elif not f"{name}.".startswith(f"{target}."):
                inside.add(_first_difference(target, name))
    return inside, others


def _first_difference(target: str, name: str) -> str:
    here, there = name.split("."), target.split(".")
    return next(part for index, part in enumerate(there) if here[index : index + 1] != [part])


def _below(rooms: set[str], floors: tuple[str, ...]) -> set[str]:
    """The rooms on floors under the highest of these."""
    names = [set(floor.split()) for floor in floors]
    highest = next((level for level, floor in enumerate(names) if rooms & floor), len(names))
    return set().union(*names[highest + 1 :])


def _folders(root: Path, packages: Iterable[str]) -> list[Path]:
    return sorted({path.parent for package in packages for path in (root / package).rglob("*.py")})


def _paragraph(folder: Path) -> str | None:
    """The docstring of a folder, empty if it has none; None where there is no `__init__.py`."""
    path = folder / "__init__.py"
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "") if path.is_file() else None

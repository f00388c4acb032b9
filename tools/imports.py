"""Import graph: which modules of the packages import which, read from the sources without importing any."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Module:
    """A module by its dotted name, and the modules beside it that it imports, for types and in functions too."""

    name: str
    imports: frozenset[str]

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]


def read_modules(root: Path, packages: Iterable[str]) -> dict[str, Module]:
    """Every module of the packages in `root`, by name.

    Raises:
        FileNotFoundError: a package that is not there.
    """
    files: dict[str, Path] = {}
    for package in packages:
        found = sorted((root / package).rglob("*.py"))
        if not found:
            raise FileNotFoundError(f"no Python file in {root / package}")
        files |= {_name(path.relative_to(root)): path for path in found}
    return {name: Module(name, frozenset(_imports(name, path, files)) - {name}) for name, path in files.items()}


def circles(modules: dict[str, Module]) -> list[list[str]]:
    """One circle of imports for every group of modules that reach each other."""
    reached = {name: _reach(name, modules) for name in modules}
    found: list[list[str]] = []
    seen: set[str] = set()
    for name in modules:
        if name in reached[name] and name not in seen:
            seen |= {other for other in reached[name] if name in reached[other]}
            found.append(_shortest_circle(name, modules))
    return found


def _reach(start: str, modules: dict[str, Module]) -> set[str]:
    """The modules that one imports, directly or not; itself among them only if it is on a circle."""
    found: set[str] = set()
    open_names = [start]
    while open_names:
        new = modules[open_names.pop()].imports & modules.keys() - found
        found |= new
        open_names += new
    return found


def _shortest_circle(start: str, modules: dict[str, Module]) -> list[str]:
    """The modules of a shortest circle through one that is on a circle, from it on."""
    paths = [[start]]
    visited: set[str] = set()
    for path in paths:  # grows: breadth first
        for target in sorted(modules[path[-1]].imports & modules.keys()):
            if target == start:
                return path
            if target not in visited:
                visited.add(target)
                paths.append([*path, target])
    raise AssertionError(f"{start} is on no circle")


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(name: str, path: Path, files: dict[str, Path]) -> Iterator[str]:
    base = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom):
            start = base[: len(base) - node.level + 1] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                target = inner if inner in files else source
                if target in files:
                    yield target

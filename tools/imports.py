"""Which modules of a package import which, read from the sources without importing any."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Module:
    """A module by its dotted name, and the modules of its package that it imports anywhere, types included."""

    name: str
    imports: frozenset[str]


def read_modules(root: Path, package: str) -> dict[str, Module]:
    """Every module of a package in `root`, by name."""
    files = {_name(path.relative_to(root)): path for path in sorted((root / package).rglob("*.py"))}
    return {name: Module(name, frozenset(_imports(name, path, files)) - {name}) for name, path in files.items()}


def circles(modules: dict[str, Module]) -> list[list[str]]:
    """A circle for every set of modules that import each other; packages' own `__init__` is left out."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> None:
        if name in path:
            circle = path[path.index(name) :]
            if not any(set(circle) == set(known) for known in found):
                found.append(circle)
            return
        if name in done:
            return
        for target in sorted(modules[name].imports):
            walk(target, [*path, name])
        done.add(name)

    for name in modules:
        walk(name, [])
    return found


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

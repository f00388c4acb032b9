"""Import graph: which modules of the packages import which, read from the sources without importing any.

A name that a package's `__init__.py` only passes on, at once or when first used, leads to that package, unless it holds
the importing module, and to the module that the name comes from. `import_module("a.b")` counts, and a built
name is noted.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

IMPORTERS = ("import_module", "__import__")


@dataclass(frozen=True)
class Module:
    """A module by its dotted name, and the modules beside it that it imports, for types and in functions too."""

    name: str
    imports: frozenset[str]
    imports_built_names: bool = False

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]


def read_modules(root: Path, packages: Iterable[str]) -> dict[str, Module]:
    """Every module of the packages in `root`, by name.

    Raises:
        FileNotFoundError: a package that is not there.
    """
    sources: dict[str, _Source] = {}
    for package in packages:
        found = sorted((root / package).rglob("*.py"))
        if not found:
            raise FileNotFoundError(f"no Python file in {root / package}")
        for path in found:
            name = _name(path.relative_to(root))
            sources[name] = _Source(name, path.name == "__init__.py", ast.parse(path.read_text("utf-8")))
    names = _Names(sources)
    return {
        name: Module(
            name,
            frozenset(target for dotted in _imported(source, names) for target in names.modules(dotted, name)) - {name},
            any(_literal(call) is None for call in _import_calls(source.tree)),
        )
        for name, source in sources.items()
    }


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


@dataclass(frozen=True)
class _Source:
    """A module's syntax tree, and what relative names in it start from."""

    name: str
    is_package: bool
    tree: ast.Module

    def absolute(self, module: str | None, level: int) -> str:
        """The dotted name of a module that is named with `level` dots before it."""
        base = self.name.split(".") if self.is_package else self.name.split(".")[:-1]
        start = base[: len(base) - level + 1] if level else []
        return ".".join([*start, *([module] if module else [])])


class _Names:
    """The modules by name, and the names that packages pass on."""

    def __init__(self, sources: dict[str, _Source]) -> None:
        self._modules = sources.keys()
        self._passed_on = {name: dict(self._exports(source)) for name, source in sources.items() if source.is_package}

    def modules(self, dotted: str, importer: str) -> Iterator[str]:
        """The modules that an import of a dotted name leads to; none for one of another package."""
        seen: set[str] = set()
        while dotted not in seen:
            seen.add(dotted)
            module = self._longest(dotted)
            name = dotted[len(module) + 1 :].partition(".")[0]
            passed_on = self._passed_on.get(module, {})
            if name == "*":
                for target in passed_on.values():
                    yield from self.modules(target, importer)
            elif name in passed_on:
                dotted = passed_on[name]
                if not f"{importer}.".startswith(f"{module}."):
                    yield module
        if module:
            yield module

    def _longest(self, dotted: str) -> str:
        """The longest part of a dotted name that is a module, or nothing."""
        while dotted and dotted not in self._modules:
            dotted = dotted.rpartition(".")[0]
        return dotted

    def _exports(self, source: _Source) -> Iterator[tuple[str, str]]:
        """Names that an `__init__.py` imports, or has in a dict of names and the modules they come from."""
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ImportFrom):
                base = source.absolute(node.module, node.level)
                yield from ((alias.asname or alias.name, f"{base}.{alias.name}") for alias in node.names)
            elif isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
                        home = f"{source.name}.{value.value!s}"
                        if home in self._modules:
                            yield str(key.value), f"{home}.{key.value!s}"


def _imported(source: _Source, names: _Names) -> Iterator[str]:
    """Dotted names that a module imports, and attributes of those that it uses."""
    bound: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            for alias in node.names:
                first = alias.name.partition(".")[0]
                bound[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            base = source.absolute(node.module, node.level)
            yield from (f"{base}.{alias.name}" for alias in node.names)
    for call in _import_calls(source.tree):
        literal = _literal(call)
        if literal is not None:
            dots = len(literal) - len(literal.lstrip("."))
            yield source.absolute(literal[dots:], dots)
    inner: set[ast.expr] = set()
    for node in ast.walk(source.tree):  # the whole of a.b.c comes before its part a.b
        if isinstance(node, ast.Attribute):
            inner.add(node.value)
            first, _, rest = ast.unparse(node).partition(".")
            if first in bound and node not in inner:
                yield f"{bound[first]}.{rest}"


def _import_calls(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in IMPORTERS:
                yield node


def _literal(call: ast.Call) -> str | None:
    """The module that a call imports; None if its name is not written there."""
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


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

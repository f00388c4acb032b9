"""Sizes of files, functions and parameter lists, and the limits on them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

MOST_LINES = 300
MOST_CODE_LINES = 60
MOST_PARAMETERS = 12
# documented keyword by keyword, as users write it
PUBLIC_SIGNATURES = ("aid_pipeline/interpolation.py: interpolate",)
# a kernel takes every stride, an operator's schema every tensor as a parameter of its own
FLAT_BY_NATURE = ("jit", "custom_op", "register_fake")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def too_large(root: Path, folders: Iterable[str]) -> list[str]:
    """A line for everything in the folders that is over its limit.

    Raises:
        FileNotFoundError: a folder that is not there.
    """
    found: list[str] = []
    for folder in folders:
        if not (root / folder).is_dir():
            raise FileNotFoundError(f"no folder {root / folder}")
        for path in sorted((root / folder).rglob("*.py")):
            found += _faults(path.relative_to(root).as_posix(), path.read_text("utf-8"))
    return found


def code_lines(node: Function, lines: list[str]) -> int:
    """Lines of the body that are neither blank, a comment, nor the docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body:
        return 0
    rows = range(body[0].lineno - 1, body[-1].end_lineno or 0)
    return sum(bool(lines[row].strip()) and not lines[row].strip().startswith("#") for row in rows)


def _faults(name: str, text: str) -> Iterator[str]:
    lines = text.splitlines()
    if len(lines) > MOST_LINES:
        yield f"{name}: {len(lines)} lines, more than {MOST_LINES}"
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, Function):
            continue
        where = f"{name}: {node.name}"
        size, count = code_lines(node, lines), len(_parameters(node.args))
        if size > MOST_CODE_LINES:
            yield f"{where} has {size} lines of code, more than {MOST_CODE_LINES}"
        if count > MOST_PARAMETERS and where not in PUBLIC_SIGNATURES and not _flat_by_nature(node):
            yield f"{where} has {count} parameters, more than {MOST_PARAMETERS}"


def _parameters(arguments: ast.arguments) -> list[ast.arg]:
    starred = [arg for arg in (arguments.vararg, arguments.kwarg) if arg is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *starred]


def _flat_by_nature(node: Function) -> bool:
    names = [ast.unparse(item.func if isinstance(item, ast.Call) else item) for item in node.decorator_list]
    return any(name.rpartition(".")[2] in FLAT_BY_NATURE for name in names)

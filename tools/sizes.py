"""What has grown too large: files, functions, parameter lists."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

MOST_LINES = 300
MOST_CODE_LINES = 60
MOST_PARAMETERS = 12
# signatures that users write, as they are documented; Triton's kernels take every stride as a parameter of its own
PUBLIC_SIGNATURES = ("interpolate",)
COMPILED = ("jit", "triton.jit", "gluon.jit")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def too_large(root: Path, folders: Iterable[str]) -> list[str]:
    """A line for everything over its limit."""
    found: list[str] = []
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        text, name = path.read_text("utf-8"), path.relative_to(root).as_posix()
        lines = len(text.splitlines())
        found += [f"{name}: {lines} lines, more than {MOST_LINES}"] if lines > MOST_LINES else []
        found += [f"{name}: {fault}" for fault in _functions(text)]
    return found


def _functions(text: str) -> Iterator[str]:
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, Function):
            continue
        size = code_lines(node, lines)
        if size > MOST_CODE_LINES:
            yield f"{node.name} has {size} lines of code, more than {MOST_CODE_LINES}"
        count = len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])
        public = node.name in PUBLIC_SIGNATURES or any(ast.unparse(d) in COMPILED for d in node.decorator_list)
        if count > MOST_PARAMETERS and not public:
            yield f"{node.name} has {count} parameters, more than {MOST_PARAMETERS}"


def code_lines(node: Function, lines: list[str]) -> int:
    """Lines of the body that are neither blank, a comment, nor the docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body:
        return 0
    rows = range(body[0].lineno - 1, body[-1].end_lineno or 0)
    return sum(bool(lines[row].strip()) and not lines[row].strip().startswith("#") for row in rows)

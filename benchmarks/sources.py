"""Which source files a result speaks of, and whether their code has changed since: no history is needed to tell.

A result records, for every file it depends on, digests of its statements: of functions, classes and assignments,
without imports, comments, docstrings and blank lines. It is stale, whatever its commit, once one of them is nowhere in
the packages, in a shallow clone and in an unpacked archive alike: a statement that moved to another file is the same
statement. What was added meanwhile does not count: it can matter only to a statement that changed with it.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable
from pathlib import Path

from benchmarks.machine import ROOT

_OPERATOR = "aid_kernels/interpolated_attention"
# patterns, from the root of the repository
STOCK = tuple(f"{_OPERATOR}/{name}.py" for name in ("impl/sdpa", "impl/log_sum_exp_ops", "layout"))
_SEQUENCE = ("attention/operator_call.py", "attention/masks.py", "attention/kv_bank.py")
SEQUENCE = (*STOCK, *(f"aid_pipeline/{name}" for name in _SEQUENCE), "benchmarks/public_schedule.py")
# what is compiled; that the tables of tiles are the compiled ones has a test of its own
KERNELS = tuple(f"{_OPERATOR}/impl/triton/{name}.py" for name in ("attend", "lerp", "tiles"))
_EVERYWHERE = ("aid_kernels/**/*.py", "aid_kernels/configs/*.json", "aid_pipeline/**/*.py", "benchmarks/**/*.py")
GPU = (*STOCK, f"{_OPERATOR}/impl/triton/*.py", f"{_OPERATOR}/tuning/static.py", "aid_kernels/configs/*.json")


def recorded(patterns: Iterable[str], root: Path = ROOT) -> dict[str, str]:
    """Path and digests of every file that matches; goes into a result as "sources".

    Raises:
        FileNotFoundError: a pattern without a wildcard matches nothing.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        paths = sorted(root.glob(pattern))
        if not paths and "*" not in pattern:
            raise FileNotFoundError(f"{pattern} is not in {root}; correct the list in benchmarks/sources.py")
        found |= {path.relative_to(root).as_posix(): digests(path.name, path.read_text("utf-8")) for path in paths}
    return found


def changed(sources: dict[str, str], root: Path = ROOT) -> list[str]:
    """Of the recorded files those of which a statement was changed or taken away, wherever it stands now."""
    present = _present(root)
    return [path for path, before in sources.items() if not set(before.split()) <= present]


def digests(name: str, text: str) -> str:
    """8 digits for every statement, in the file's order; for a file that is not Python's, of all of it."""
    pieces = _statements(text) if name.endswith(".py") else [text]
    return " ".join(hashlib.sha256(piece.encode()).hexdigest()[:8] for piece in pieces)


def _present(root: Path) -> set[str]:
    """Digests of everything a result may speak of."""
    paths = [path for pattern in _EVERYWHERE for path in root.glob(pattern)]
    return {digest for path in paths for digest in digests(path.name, path.read_text("utf-8")).split()}


def _statements(text: str) -> list[str]:
    """Statements of a module, the code of each alone; where names are imported from is no statement."""
    tree, lines = ast.parse(text), text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            for row in _rows(node.body[0]):
                lines[row] = ""
    found = []
    for node in tree.body:
        if not _imports(node):
            code = "\n".join(lines[row].rstrip() for row in _rows(node) if lines[row].strip())
            found += [code] if code else []
    return found


def _imports(node: ast.stmt) -> bool:
    """Whether it is an import, or `if TYPE_CHECKING:` around some."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return all(map(_imports, node.body))
    return isinstance(node, ast.Import | ast.ImportFrom)


_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _rows(node: ast.stmt) -> range:
    """Indices of its lines, decorators included."""
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return range(first - 1, node.end_lineno or node.lineno)

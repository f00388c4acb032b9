"""Sources of a result: digests of the statements it was measured with, and which of them have changed since.

A result records, for every file it depends on, a digest of each statement: of functions, classes and assignments,
without imports, comments, docstrings and blank lines. No history is needed to tell whether it is stale, in a shallow
clone and in an unpacked archive alike. A statement is looked for by its name in the file where it was; where its name
is no longer there, in all files, since one that moved is the same statement. A statement that stands twice is so held
to its own place. What was added meanwhile does not count: it can matter only to a statement that changed with it.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmarks.common.machine import ROOT

Digests = dict[str, str]
"""By the statement's name; that of the whole file, under the empty name, where it is not Python's."""
Sources = dict[str, Digests]
"""By path from the root of the repository; a result's "sources"."""

_DIGITS = 12
_OPERATOR = "aid_kernels/interpolated_attention"
# patterns, from the root of the repository
STOCK = tuple(f"{_OPERATOR}/{name}.py" for name in ("impl/sdpa", "impl/log_sum_exp_ops", "layout"))
_ATTENTION = tuple(f"aid_pipeline/attention/{name}.py" for name in ("operator_call", "masks", "kv_bank"))
SEQUENCE = (*STOCK, *_ATTENTION, "benchmarks/denoiser/public_schedule.py")
_STEPS = tuple(f"aid_pipeline/metrics/{name}.py" for name in ("distances", "step_distances", "intervals"))
_CHOICE = tuple(
    f"aid_pipeline/selection/{name}.py" for name in ("settings", "beta_fit", "path", "retiming", "dynamic", "run")
)
SELECTION = (*STOCK, *_ATTENTION, *_CHOICE, *_STEPS)
_FIDELITY = tuple(f"aid_pipeline/metrics/{name}.py" for name in ("clip", "features", "fidelity", "images", "presets"))
_STUDIES = tuple(f"aid_pipeline/studies/{name}.py" for name in ("comparison/methods", "evaluation/measure"))
COMPARISON = (*STOCK, *_ATTENTION, "aid_pipeline/selection/beta_fit.py", *_STEPS, *_FIDELITY, *_STUDIES)
# what is compiled; that the tables of tiles are the compiled ones has a test of its own
KERNELS = tuple(f"{_OPERATOR}/impl/triton/{name}.py" for name in ("attend", "lerp", "tiles"))
GPU = (*STOCK, f"{_OPERATOR}/impl/triton/*.py", f"{_OPERATOR}/tuning/static.py", "aid_kernels/configs/*.json")
# of the committed results, by their place under benchmarks/results; a GPU run's folder is its owner's choice
MEASURED = {
    "cpu/operator.json": STOCK,
    "cpu/sequence.json": SEQUENCE,
    "cpu/denoiser.json": SEQUENCE,
    "cpu/throughput.json": SEQUENCE,
    "cpu/selection.json": SELECTION,
    "cpu/per_round/selection.json": SELECTION,
    "paper/paper.json": COMPARISON,
    "paper/precision.json": COMPARISON,
}
_EVERYWHERE = ("aid_kernels/**/*.py", "aid_kernels/configs/*.json", "aid_pipeline/**/*.py", "benchmarks/**/*.py")


@dataclass(frozen=True)
class Tree:
    """Every statement of a repository as it is now, read once and asked about many results."""

    files: Sources

    @staticmethod
    def read(root: Path = ROOT) -> Tree:
        paths = sorted({path for pattern in _EVERYWHERE for path in root.glob(pattern)})
        return Tree({path.relative_to(root).as_posix(): _of_file(path) for path in paths})

    def changed(self, sources: Sources) -> list[str]:
        """Of the recorded statements those that were changed or taken away, as "name (file)"."""
        anywhere = {pair for digests in self.files.values() for pair in digests.items()}
        found = []
        for path, before in sources.items():
            here = self.files.get(path, {})
            for name, digest in before.items():
                if (here[name] != digest) if name in here else ((name, digest) not in anywhere):
                    found.append(f"{name} ({Path(path).name})" if name else Path(path).name)
        return found


def recorded(patterns: Iterable[str], root: Path = ROOT) -> Sources:
    """Digests of every file that matches.

    Raises:
        FileNotFoundError: a pattern without a wildcard matches nothing.
    """
    found: Sources = {}
    for pattern in patterns:
        paths = sorted(root.glob(pattern))
        if not paths and "*" not in pattern:
            raise FileNotFoundError(f"{pattern} is not in {root}; correct the list in benchmarks/common/sources.py")
        found |= {path.relative_to(root).as_posix(): _of_file(path) for path in paths}
    return found


def digests(name: str, text: str) -> Digests:
    """Of a file's statements, in their order; statements of one name, such as overloads, together."""
    return dict(_of_code(text)) if name.endswith(".py") else {"": _digest(text)}


@lru_cache(maxsize=1024)
def _of_code(text: str) -> Digests:
    together: dict[str, list[str]] = {}
    for statement, code in _statements(text):
        together.setdefault(statement, []).append(code)
    return {statement: _digest("\n".join(codes)) for statement, codes in together.items()}


def _of_file(path: Path) -> Digests:
    return digests(path.name, path.read_text("utf-8"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _statements(text: str) -> list[tuple[str, str]]:
    """Name and code of each statement of a module; where names are imported from is no part of either."""
    tree, lines = ast.parse(text), text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and (_imports(node) or _documents(node)):
            for row in _rows(node):
                lines[row] = ""
    found = []
    for node in tree.body:
        code = "\n".join(lines[row].rstrip() for row in _rows(node) if lines[row].strip())
        if code:
            found.append((_name(node), code))
    return found


def _name(node: ast.stmt) -> str:
    """What a statement defines; of one that defines nothing its kind."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name
    if isinstance(node, ast.Assign):
        return ", ".join(map(ast.unparse, node.targets))
    return ast.unparse(node.target) if isinstance(node, ast.AnnAssign) else type(node).__name__.lower()


def _imports(node: ast.stmt) -> bool:
    """Whether it is an import, or `if TYPE_CHECKING:` around some."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return all(map(_imports, node.body))
    return isinstance(node, ast.Import | ast.ImportFrom)


def _documents(node: ast.stmt) -> bool:
    """Whether it is a string that stands alone: a docstring, or the words under a constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _rows(node: ast.stmt) -> range:
    """Indices of its lines, decorators included."""
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return range(first - 1, node.end_lineno or node.lineno)

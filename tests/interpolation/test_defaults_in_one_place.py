"""Default of every argument of a sequence: typed once, where its field is, and taken from there by all others."""

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from aid_pipeline import AIDConfig
from aid_pipeline.io.formats import Formats
from aid_pipeline.spec import InterpolationSpec

PACKAGE = Path(__file__).resolve().parents[2] / "aid_pipeline"
HOMES = {"spec.py": InterpolationSpec, "config.py": AIDConfig, "io/formats.py": Formats}
NAMES = {entry.name for home in HOMES.values() for entry in fields(home)}
# rooms in which these names are not a sequence's: a seed of resampling, the warm-up of a training
OTHER_MEANING = ("metrics", "miniature", "selection")
NUMBERS = {25, 5.0}
OTHER_NUMBERS = ("_BATCH",)


def sources() -> list[tuple[str, ast.Module]]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return [(path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text("utf-8"))) for path in paths]


def typed_defaults(tree: ast.AST) -> Iterator[tuple[str, Any]]:
    """(name, literal) of parameters, of fields, and of options as `make_dataclass` takes them."""
    for node in ast.walk(tree):
        pairs: list[tuple[str, ast.expr | None]] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            taken = [*node.args.posonlyargs, *node.args.args]
            pairs += zip(reversed([one.arg for one in taken]), reversed(node.args.defaults), strict=False)
            pairs += zip([one.arg for one in node.args.kwonlyargs], node.args.kw_defaults, strict=True)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            inner = [key.value for key in getattr(node.value, "keywords", ()) if key.arg == "default"]
            pairs.append((node.target.id, inner[0] if inner else node.value))
        elif isinstance(node, ast.Tuple) and len(node.elts) == 3:
            name, hint, value = node.elts
            if isinstance(name, ast.Constant) and not isinstance(hint, ast.Constant):
                pairs.append((str(name.value), value))
        for name, value in pairs:
            if isinstance(value, ast.Constant) and value.value is not None:
                yield name, value.value


def test_no_default_is_typed_twice():
    wrong = [
        f"{path}: {name} = {value!r}"
        for path, tree in sources()
        if path not in HOMES and not path.startswith(OTHER_MEANING)
        for name, value in typed_defaults(tree)
        if name in NAMES
    ]
    assert not wrong, "\n".join(wrong)


def test_steps_and_guidance_are_typed_once():
    found = {
        (node.value, path)
        for path, tree in sources()
        for statement in tree.body
        if not (isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) in OTHER_NUMBERS)
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float)
        if any(node.value == number and type(node.value) is type(number) for number in NUMBERS)
    }
    assert found == {(25, "config.py"), (5.0, "config.py")}


@pytest.mark.parametrize(
    "text",
    ["def f(a, warmup=0.5): pass", "f = lambda *, frames=7: 0", "warmup: float = 0.5", "('frames', int, 7)",
     "impl: str = field(default='auto', metadata={})"],
)  # fmt: skip
def test_a_typed_default_is_found(text):
    assert [name for name, _ in typed_defaults(ast.parse(text)) if name in NAMES]

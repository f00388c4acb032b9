"""Class names: which modules name a concrete pipeline or denoiser class of diffusers, and which may."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# a file, or a folder with all that is in it, and why it may
MAY_NAME = {
    "aid_pipeline/families.py": "the home of what families do in different ways",
    "aid_pipeline/miniature": "builds, trains and loads one Stable Diffusion model, and knows no other",
    "benchmarks/denoiser/unets.py": "builds the UNets of public configurations with random weights",
    "benchmarks/sequence/cpu.py": "builds a whole Stable Diffusion pipeline with random weights",
    "benchmarks/sequence/proportions.py": "builds SDXL and FLUX in proportion with random weights",
}
_CONCRETE = re.compile(r"\b(?:(?!Diffusion)[A-Z]\w*Pipeline|AutoPipelineFor\w+|UNet\w*Model|\w*Transformer\w*Model)\b")


def concrete_classes(root: Path, packages: Iterable[str], may_name: Mapping[str, str] = MAY_NAME) -> list[str]:
    """A line for every file that names a class and may not, and for every permission that nothing needs."""
    found: list[str] = []
    needed: set[str] = set()
    for path in sorted(path for package in packages for path in (root / package).rglob("*.py")):
        file = path.relative_to(root).as_posix()
        names = sorted(set(_named(ast.parse(path.read_text("utf-8")))))
        permitted = {place for place in may_name if f"{file}/".startswith(f"{place}/")}
        if names and not permitted:
            found.append(f"{file} names {', '.join(names)}: aid_pipeline/families.py alone knows families by class")
        needed |= permitted if names else set()
    unused = (place for place in may_name if place not in needed and (root / place).exists())
    return [
        *found,
        *(f"{place} may name classes and names none; tools/class_names.py need not list it" for place in unused),
    ]


def _named(tree: ast.Module) -> Iterator[str]:
    """Concrete classes among names, attributes, imports and texts, docstrings aside."""
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node) is not None
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.alias(name=text):
                yield from _CONCRETE.findall(text)
            case ast.Constant(value=str(text)) if node not in docstrings:
                yield from _CONCRETE.findall(text)

"""Doors: the `__init__.py` of each folder, whose docstring says what lives there and what it may import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

FEWEST_SENTENCES = 2
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")


def undescribed(root: Path, packages: Iterable[str]) -> list[str]:
    """A line for every folder with Python files whose `__init__.py` is missing or says too little."""
    found: list[str] = []
    for folder in sorted({path.parent for package in packages for path in (root / package).rglob("*.py")}):
        name = (folder / "__init__.py").relative_to(root).as_posix()
        if not (folder / "__init__.py").is_file():
            found.append(f"{name} is missing")
            continue
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
        if len(_SENTENCE_END.findall(text)) < FEWEST_SENTENCES:
            said = f"says {text.splitlines()[0]!r} alone" if text else "has no docstring"
            found.append(f"{name} {said}; a paragraph says what lives there and which rooms it may import")
    return found

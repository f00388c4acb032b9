"""The import graph of a small package written on the spot."""

from pathlib import Path

import pytest

from tools.imports import circles, read_modules


def write(root: Path, **sources: str) -> Path:
    """Files of a tree; two underscores in a name are a folder: a__b is a/b.py, a__ is a/__init__.py."""
    for name, text in sources.items():
        path = root / (name.replace("__", "/") + ("__init__.py" if name.endswith("__") else ".py"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_every_spelling_of_an_import_is_seen(tmp_path: Path) -> None:
    write(
        tmp_path,
        p__="from .a import name",
        p__a="import json\nimport p.b\nfrom os import path",
        p__b="def later():\n    from . import c",
        p__c="from p.room import deep, other",
        p__room__="",
        p__room__deep="from ..a import name\nfrom .. import c\nfrom . import other\nfrom p import b",
        p__room__other="import q.x as x",
        q__="",
        q__x="",
    )
    modules = read_modules(tmp_path, ["p", "q"])
    assert {name: set(module.imports) for name, module in modules.items()} == {
        "p": {"p.a"},
        "p.a": {"p.b"},
        "p.b": {"p.c"},
        "p.c": {"p.room.deep", "p.room.other"},
        "p.room": set(),
        "p.room.deep": {"p.a", "p.c", "p.room.other", "p.b"},
        "p.room.other": {"q.x"},
        "q": set(),
        "q.x": set(),
    }
    assert modules["p.room.other"].package == "p"


def test_a_circle_is_found_once_and_shortest(tmp_path: Path) -> None:
    write(
        tmp_path,
        p__="",
        p__entry="from . import a",  # leads to a circle, is on none
        p__a="from . import b",
        p__b="from . import c, d",
        p__c="from . import a",
        p__d="from . import c",
        p__x="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .y import Y",
        p__y="def later():\n    from .x import X",
        p__z="from . import x",
    )
    assert circles(read_modules(tmp_path, ["p"])) == [["p.a", "p.b", "p.c"], ["p.x", "p.y"]]


def test_a_diamond_is_no_circle(tmp_path: Path) -> None:
    write(tmp_path, p__="", p__a="from . import b, c", p__b="from . import d", p__c="from . import d", p__d="")
    assert circles(read_modules(tmp_path, ["p"])) == []


def test_a_package_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        read_modules(tmp_path, ["absent"])

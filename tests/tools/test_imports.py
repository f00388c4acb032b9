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


LAZY_DOOR = """
from importlib import import_module
from .b import eager, again as other
_HOMES = {"one": "room.deep", "two": "a", "none": "absent"}
def __getattr__(name): return getattr(import_module(f".{_HOMES[name]}", __name__), name)
"""


@pytest.mark.parametrize(
    ("text", "imports"),
    [
        ("from . import one, two", {"p.room.deep", "p.a"}),
        ("from p import eager", {"p.b"}),
        ("from . import other", {"p.b"}),
        ("import p\np.one(p.two)", {"p", "p.room.deep", "p.a"}),
        ("import p as q\nq.room.deep.x.y()", {"p", "p.room.deep"}),
        ("import p.a\ndef later(): return p.one.name", {"p.a", "p.room.deep"}),
        ("from . import *", {"p", "p.room.deep", "p.a", "p.b"}),
        ("from . import none, __doc__", {"p"}),
        ("from .room import passed", {"p.room", "p.a"}),
        ("import json as p\np.one", set()),
    ],
)
def test_a_name_is_followed_through_the_door_that_passes_it_on(tmp_path: Path, text: str, imports: set[str]) -> None:
    write(
        tmp_path,
        p__=LAZY_DOOR,
        p__a="",
        p__b="",
        p__room__="from .. import two as passed",
        p__room__deep="",
        p__user=text,
    )
    assert read_modules(tmp_path, ["p"])["p.user"].imports == imports


@pytest.mark.parametrize(
    ("text", "imports", "built"),
    [
        ('import_module("p.a")', {"p.a"}, False),
        ('importlib.import_module(".room", __package__)', {"p.room"}, False),
        ('importlib.import_module("json")', set(), False),
        ('__import__("p.a")', {"p.a"}, False),
        ('import_module(f"p.{name}")', set(), True),
        ("import_module(name)", set(), True),
    ],
)
def test_calls_that_import_are_followed_where_the_name_is_written(
    tmp_path: Path, text: str, imports: set[str], built: bool
) -> None:
    modules = read_modules(write(tmp_path, p__="", p__a="", p__room__="", p__user=text), ["p"])
    assert (modules["p.user"].imports, modules["p.user"].imports_built_names) == (imports, built)


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

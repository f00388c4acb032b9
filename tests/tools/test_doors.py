"""Paragraphs of folders against the files and imports that are there."""

from pathlib import Path

import pytest

from tests.tools.test_imports import write
from tools.doors import misdescribed, undescribed
from tools.imports import read_modules

FLOORS = {"p": ("top", "room", "left right", "low")}
DOOR = '"""Room: `a` does it, and `deep` more, by `aid`. Imports `left` and `low`."""'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write(
        tmp_path,
        p__='"""Rooms: `top`, `room`, `left` and `right`, `low`. Each imports what is below."""',
        p__room__=DOOR,
        p__room__a="from ..left import name\nfrom .deep import b",
        p__room__deep__='"""Deep: `b` alone. Imports `a`."""',
        p__room__deep__b="from .. import a\nfrom ...low import name\nimport q.x",
        p__top="from .room import a",
        p__left="",
        p__right="",
        p__low="",
        q__='"""Another package: `x`. It imports none."""',
        q__x="",
    )


def found(tree: Path, door: str | None = None, **sources: str) -> list[str]:
    write(tree, **({"p__room__": door} if door else {}), **sources)
    return misdescribed(tree, ["p"], read_modules(tree, ["p", "q"]), FLOORS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Imports `left` and `low`", "Imports `left`, `low` and `q`"),
        ("Imports `left` and `low`", "Imports `left` and what is below it"),
        ("Imports `left` and `low`", "Imports what is below it"),
        ("`a` does it", "`a.py` does it, with ``gone`` and `sequence.json`"),
    ],
)
def test_what_is_there_may_be_said_in_several_ways(tree: Path, old: str, new: str) -> None:
    write(tree, p__room__deep__='"""Deep: `b` alone. It says nothing of imports."""')
    assert found(tree, DOOR.replace(old, new)) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("`a` does it", "it does it", "p/room/__init__.py does not name a"),
        ("`deep`", "`deep`, `gone`", "p/room/__init__.py names gone, which is no module"),
        ("`deep`", "`deep`, `right.py`", "p/room/__init__.py names right, which is no module"),
        ("`left` and `low`", "`left`", "p/room/__init__.py does not say that it imports low"),
        ("`left` and `low`", "no other room", "p/room/__init__.py does not say that it imports left, low"),
        ("and `low`", "`low` and `right`", "p/room/__init__.py says that it imports right, and it does not"),
        (
            "`left` and `low`",
            "`low` and what is below it",
            "p/room/__init__.py does not say that it imports left",
        ),
        ("Imports `left` and `low`", "May import all", 'p/room/__init__.py has no sentence "Imports ..."'),
    ],
)
def test_what_is_not_there_or_not_said_is_a_fault(tree: Path, old: str, new: str, told: str) -> None:
    write(tree, p__room__deep__='"""Deep: `b` alone. It says nothing of imports."""')
    (fault,) = found(tree, DOOR.replace(old, new))
    assert fault.startswith(told)


def test_a_folder_in_a_room_names_what_it_imports_of_the_room_and_beyond(tree: Path) -> None:
    assert found(tree) == ["p/room/deep/__init__.py does not say that it imports low"]
    assert found(tree, p__room__deep__='"""Deep: `b` alone. Imports `a` and `low`."""') == []


def test_every_folder_says_what_lives_there(tmp_path: Path) -> None:
    write(
        tmp_path,
        p__='"""Things: what they are. It imports nothing."""',
        p__silent__="",
        p__short__='"""Things: one line alone."""',
        p__absent__a="",
    )
    (tmp_path / "p" / "data").mkdir()
    told = undescribed(tmp_path, ["p"])
    assert [line.split()[0] for line in told] == ["p/absent/__init__.py", "p/short/__init__.py", "p/silent/__init__.py"]
    assert "missing" in told[0]
    assert "one line alone" in told[1]
    assert "no docstring" in told[2]

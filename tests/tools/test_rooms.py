"""Rooms: arrows upwards, unknown rooms, and this repository's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.test_imports import write
from tools import rooms
from tools.imports import read_modules

FLOORS = ("cli", "middle.deep", "middle beside", "low")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package without a fault: cli > middle, low; middle.deep > middle; middle, beside > low."""
    write(
        tmp_path,
        p__="from .cli import main",
        p__cli__="",
        p__cli__main="from ..middle import one\nfrom ..low import low",
        p__middle__="from .one import name",
        p__middle__one="from .. import low",
        p__middle__deep__="from ..one import name",
        p__beside="from .low import low",
        p__low="",
    )
    (tmp_path / "p" / "__main__.py").write_text("from .cli import main")
    return tmp_path


def faults(tree: Path, floors: tuple[str, ...] = FLOORS) -> list[str]:
    return rooms.faults(read_modules(tree, ["p"]), "p", floors)


def test_a_sound_package_has_no_fault_and_is_described(tree: Path) -> None:
    assert faults(tree) == []
    assert rooms.describe(read_modules(tree, ["p"]), "p", FLOORS).splitlines() == [
        "p: 5 rooms, 5 arrows",
        "  cli > low, middle",
        "  middle.deep > middle",
        "  middle > low",
        "  beside > low",
        "  low > -",
    ]


@pytest.mark.parametrize(
    ("module", "text", "told"),
    [
        ("p__low", "from .cli import main", "low imports cli, which is not below it (p.low imports p.cli.main)"),
        ("p__beside", "import p.middle.one", "beside imports middle, which is not below it"),
        ("p__middle__one", "def f():\n    from .deep import name", "middle imports middle.deep"),
        ("p__lower", "", "lower is on no floor"),
    ],
)
def test_a_fault_is_told_by_its_modules(tree: Path, module: str, text: str, told: str) -> None:
    (found,) = faults(write(tree, **{module: text}))
    assert told in found


def test_too_many_rooms(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "MOST_ROOMS", 4)
    assert faults(tree) == ["p: 5 rooms, more than 4"]


def test_a_package_imports_those_alone_that_it_may(tree: Path) -> None:
    write(tree, q__="", q__a="from p import low\nimport q.b", q__b="", r__="", r__c="import q.a, p.low")
    modules = read_modules(tree, ["p", "q", "r"])
    assert rooms.package_faults(modules, {"r": ("q", "p"), "q": ("p",), "p": ()}) == []
    assert rooms.package_faults(modules, {"r": ("q",), "q": (), "p": ()}) == [
        "q.a imports p.low: q may not import p",
        "r.c imports p.low: r may not import p",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import p", "p.low imports p, the door of its own package"),
        ("from . import *", "p.low imports p, the door of its own package"),
        ("import_module(name)", "p.low imports by a built name"),
    ],
)
def test_a_way_round_the_rooms_is_a_fault(tree: Path, text: str, told: str) -> None:
    write(tree, p__="", p__low=text)
    (found,) = rooms.package_faults(read_modules(tree, ["p"]), {"p": ()})
    assert told in found
    assert rooms.package_faults(read_modules(write(tree, p__low=""), ["p"]), {"p": ()}) == []


def test_a_name_taken_from_the_lazy_door_is_an_arrow(tree: Path) -> None:
    write(tree, p__='_HOMES = {"main": "cli.main"}', p__low="def later():\n    from . import main")
    assert faults(tree) == ["p: low imports cli, which is not below it (p.low imports p.cli.main)"]


def test_this_repository(capsys: pytest.CaptureFixture[str]) -> None:
    code = rooms.main([])
    assert code == 0, capsys.readouterr().out


def test_a_reader_that_has_enough_is_no_error() -> None:
    read, write_end = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "tools.rooms"]
    done = subprocess.run(command, cwd=rooms.ROOT, stdout=write_end, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(write_end)
    assert done.stderr == b""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Every folder that is read, with nothing wrong."""
    described = {f"{package}__": '"""One sentence. And another."""' for package in rooms.PACKAGES}
    write(tmp_path, **described, **{f"{folder}__a": "" for folder in set(rooms.MEASURED) - set(rooms.PACKAGES)})
    assert rooms.main([], tmp_path) == 0
    return tmp_path


def test_a_fault_makes_the_command_fail(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        repository,
        aid_pipeline__errors="import aid_pipeline.config",
        aid_pipeline__config="import aid_pipeline.errors",
        aid_kernels__a="import tests.a",
    )
    assert rooms.main([], repository) == 1
    told = capsys.readouterr().out
    assert "aid_kernels.a imports tests.a: aid_kernels may not import tests" in told
    assert "a circle: aid_pipeline.config > aid_pipeline.errors > aid_pipeline.config" in told
    assert "errors imports config, which is not below it" in told
    assert "aid_pipeline/__init__.py does not name config, errors" in told


def test_a_family_known_by_class_makes_the_command_fail(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repository, benchmarks__planted="def f(pipe):\n    return isinstance(pipe.unet, UNet2DConditionModel)")
    assert rooms.main([], repository) == 1
    assert "benchmarks/planted.py names UNet2DConditionModel" in capsys.readouterr().out

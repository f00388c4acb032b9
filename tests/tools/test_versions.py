"""The page of tested versions says what the records say, and only what passed is recorded."""

import json
import subprocess
from pathlib import Path

import pytest

from tools import versions

RECORD = {
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "machine": "Linux x86_64, CPU",
    "tests": "tests",
    "passed": 7,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / versions.PAGE).write_text(f"before\n{versions.START}\n{versions.END}\nafter\n")
    return tmp_path


def test_the_page_is_written_and_checked(root: Path) -> None:
    newer = {**RECORD, "versions": {**RECORD["versions"], "diffusers": "0.42.10"}}
    older = {**RECORD, "versions": {**RECORD["versions"], "diffusers": "0.42.9"}}
    (root / versions.RECORDS).write_text(json.dumps([RECORD, older, newer]))
    assert versions.main(["--check"], root) == 1
    assert versions.main([], root) == 0
    assert versions.main(["--check"], root) == 0
    text = (root / versions.PAGE).read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert [line.split(" | ")[3] for line in text.splitlines() if "2.13.0" in line] == ["0.42.10", "0.42.9", "-"]


@pytest.mark.parametrize(("code", "kept"), [(0, 1), (1, 0)])
def test_only_what_passed_is_recorded(root: Path, monkeypatch: pytest.MonkeyPatch, code: int, kept: int) -> None:
    done = subprocess.CompletedProcess([], code, "....\n41 passed, 2 skipped in 1.0s\n", "")
    monkeypatch.setattr(versions.subprocess, "run", lambda *args, **kwargs: done)
    for _ in range(2):  # the same environment again takes the place of its record
        assert versions.main(["--record", "tests/kernels", "-m", "not slow"], root) == code
    assert len(versions.read(root)) == kept
    if kept:
        (entry,) = versions.read(root)
        assert entry["passed"] == 41
        assert entry["tests"] == 'tests/kernels -m "not slow"'
        assert entry["versions"] == versions.versions_here()


def test_the_committed_page_is_what_its_records_say() -> None:
    assert versions.main(["--check"]) == 0
    assert versions.read(), "no environment is recorded"

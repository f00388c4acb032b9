"""The simulated first run in docs/choices.md: it is what its command writes, and a changed page is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import pretended_gpu
from benchmarks.pretended_gpu import FAULT, PAGE, START, filled, main, same


@pytest.fixture(scope="module")
def made() -> str:
    return filled(PAGE.read_text(encoding="utf-8"))


def test_the_page_is_what_the_command_writes(made: str) -> None:
    assert same(PAGE.read_text(encoding="utf-8"), made)
    section = made.partition(START)[2]
    assert section.index("the first such call measures") < section.index("the fastest measured here")
    assert FAULT in section
    assert section.count("<- kept") == 1


def test_errors_of_another_processor_are_no_difference(made: str) -> None:
    assert same(made.replace("error 1.", "error 7."), made)
    assert not same(made.replace("1.2 ms", "1.3 ms"), made)


def test_the_check_fails_on_another_page(
    made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "choices.md"
    page.write_text(made.replace("sdpa merged: 2 ms", "sdpa merged: 3 ms"))
    monkeypatch.setattr(pretended_gpu, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["pretended_gpu", "--check"])
    assert main() == 1
    assert "choices.md is not what" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["pretended_gpu"])
    assert main() == 0
    assert same(page.read_text(), made)
    page.write_text("no section")
    with pytest.raises(ValueError, match="has no section"):
        main()

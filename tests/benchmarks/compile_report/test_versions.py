"""Kernels by versions of Triton: lines of a version replace its old ones, and the page shows them side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aid_kernels.interpolated_attention.tuning.tile_sizes import TARGETS
from benchmarks.compile_report.versions import BLACKWELL, RESULTS, VersionLine, merged, read, table, wanted, write

LINE = VersionLine("3.9.0", "sm_90", "outer, J=2", 64, 238, 0, 1, 1, 1, 3, 8, 0, 2400, "")


def test_a_version_replaces_its_own_lines_alone() -> None:
    older, other = replace(LINE, triton="3.10.0"), replace(LINE, target="sm_80")
    assert merged([LINE, older], [replace(LINE, registers=200), other]) == [
        other, older, replace(LINE, registers=200),
    ]  # fmt: skip


def test_lines_are_read_as_written(tmp_path: Path) -> None:
    lines = [LINE, replace(LINE, triton="3.8.0", problem="HGMMA are serialised")]
    write(lines, tmp_path / "versions.csv")
    assert read(tmp_path / "versions.csv") == lines
    assert (tmp_path / "versions.md").read_text() == table(lines)
    assert read(tmp_path / "none.csv") == []


def test_every_chip_and_the_split_loops_are_compiled() -> None:
    short, long = list(wanted(False)), list(wanted(True))
    assert {case.target for case, _ in short} == set(TARGETS)
    assert [case.target for case, config in short if config is not None] == [BLACKWELL]
    assert set(short) < set(long)


def test_the_committed_page_is_of_the_committed_lines() -> None:
    lines = read(RESULTS)
    assert lines
    assert RESULTS.with_suffix(".md").read_text(encoding="utf-8") == table(lines)
    assert not [line for line in lines if line.problem]

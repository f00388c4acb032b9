"""Proof that two trees compute the same: what it traces, what it notices, and when it records."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from benchmarks.common import machine, sources
from benchmarks.common.result_files import RESULTS
from benchmarks.same_as import __main__ as same_as
from benchmarks.same_as import trace

NAME = "cpu/operator.json"
SDPA = "aid_kernels/interpolated_attention/impl/sdpa.py"


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path, Path]:
    """An old tree, this one's copy where a statement is written in another way, results of the old one's code."""
    old, new, results = tmp_path / "old", tmp_path / "new", tmp_path / "results"
    for tree in (old, new):
        shutil.copytree(
            machine.ROOT / "aid_kernels", tree / "aid_kernels", ignore=shutil.ignore_patterns("__pycache__")
        )
    small = {"heads": 2, "query_length": 9, "key_length": 9, "head_dim": 8, "dtype": "float32", "transposed": True}
    cases = [{"title": mode, "case": {"mode": mode, "frames": 3, **small}} for mode in ("outer", "inner")]
    result = {"sources": sources.recorded(sources.STOCK, old), "cases": cases}
    (results / "cpu").mkdir(parents=True)
    (results / NAME).write_text(json.dumps(result, indent=1) + "\n")
    reword(new, "PIECES = 8", "PIECES = 2 * 4")
    return old, new, results


def reword(tree: Path, old: str, new: str) -> None:
    path = tree / SDPA
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.slow
def test_results_alone_are_compared_for_figures_without_times(
    trees, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """More operations for the same bits: a timed result is measured again, one of images is not."""
    lines = {"then": ["aten.mul 2", "-> outer: 01"], "now": ["aten.mul 2", "aten.add 0", "-> outer: 01"]}
    then, now = (tmp_path / f"{name}.txt" for name in lines)
    for path, content in zip((then, now), lines.values(), strict=True):
        path.write_text("\n".join(content) + "\n")
    assert same_as.first_difference(then, now)
    assert not same_as.first_difference(then, now, bits=True)
    now.write_text("-> outer: 02\n")
    assert "outer" in same_as.first_difference(then, now, bits=True)
    for names in ([NAME], []):
        with pytest.raises(SystemExit):
            prove(trees, "--bits", *names)
        assert "no times" in capsys.readouterr().err


def prove(trees: tuple[Path, Path, Path], *names: str) -> int:
    old, new, results = trees
    return same_as.main([str(old), *names], new, results)


@pytest.mark.slow
def test_what_computes_the_same_is_recorded_anew(trees, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, results = trees
    before = json.loads((results / NAME).read_text())
    assert sources.Tree.read(new).changed(before["sources"]) == ["PIECES (sdpa.py)"]
    assert prove(trees) == 0
    after = json.loads((results / NAME).read_text())
    assert sources.Tree.read(new).changed(after["sources"]) == []
    assert after.pop("sources_proven_same_as") == [machine.commit_of(old)]
    assert after == before | {"sources": sources.recorded(sources.STOCK, new)}
    assert "operator: the same" in capsys.readouterr().out
    assert prove(trees) == 0
    assert "no result is stale" in capsys.readouterr().out


@pytest.mark.slow
def test_what_computes_something_else_is_not(trees, capsys: pytest.CaptureFixture[str]) -> None:
    """A bank's mask is read wrongly, which only calls that have one can tell."""
    _, new, results = trees
    before = (results / NAME).read_text()
    reword(new, "|= source_mask", "&= source_mask")
    assert prove(trees, NAME) == 1
    said = capsys.readouterr().out
    assert "operator: the trees differ after" in said
    assert "then aten." in said
    assert "now  aten." in said
    assert (results / NAME).read_text() == before


def test_the_old_tree_must_be_the_one_that_was_measured(trees) -> None:
    old, _, results = trees
    reword(old, "PIECES = 8", "PIECES = 9")
    with pytest.raises(SystemExit, match=r"PIECES \(sdpa\.py\) changed since"):
        prove(trees, NAME)
    (results / NAME).write_text("{}\n")
    with pytest.raises(SystemExit, match="has no sources"):
        prove(trees, NAME)
    with pytest.raises(SystemExit):
        prove(trees, "cpu/nothing.json")


def test_a_trace_names_forms_and_looks_into_operators() -> None:
    lines: list[str] = []
    from aid_kernels import InterpolationPlan, outer_attention

    query = torch.ones(3, 5, 2, 8).transpose(1, 2)
    with trace.Operations(lines.append):
        outer_attention(query, query, query, InterpolationPlan.sequence([0, 0.5, 1]), impl="sdpa")
    assert any("float32[3, 2, 5, 8][80, 8, 16, 1]" in line for line in lines)
    assert len(lines) > 10
    assert not any(line.startswith("aid_kernels") for line in lines)


def test_the_first_difference(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a\n-> x, y: 12\nb\n")
    two.write_text("a\n-> x, y: 12\nc\n")
    assert same_as.first_difference(one, one) == ""
    assert same_as.first_difference(one, two) == "after the result 'x, y':\n  then b\n  now  c"
    two.write_text("a\n")
    assert "now  nothing more" in same_as.first_difference(one, two)


def test_there_is_work_for_every_result() -> None:
    assert {name for kind in sources.MEASURED.values() for name in same_as.WORK[kind]} == set(trace.WORKLOADS)
    assert all((RESULTS / name).is_file() for name in sources.MEASURED)

"""Sources of a result: which changes of a file make it stale, and which do not."""

import json
from pathlib import Path

import pytest

from benchmarks.common import sources
from benchmarks.common.result_files import RESULTS

SOURCE = '''import os


@decorated  # why
def f(x):
    """Doc."""
    import sys
    return "# no comment"


LIMIT: int = 8
"""Words under a constant."""


class C:
    a = 1
'''


def test_statements_are_told_apart() -> None:
    before = sources.digests("a.py", SOURCE)
    assert list(before) == ["f", "LIMIT", "C"]
    for old, new in (
        ("Doc.", "Other."),
        ("  # why", ""),
        ("os", "json"),
        ("sys", "io"),
        ("under", "of"),
        ("\n\n", "\n"),
    ):
        assert sources.digests("a.py", SOURCE.replace(old, new)) == before, old
    for old, name in (("no comment", "f"), ("decorated", "f"), ("(x)", "f"), ("8", "LIMIT"), ("a = 1", "C")):
        after = sources.digests("a.py", SOURCE.replace(old, "other" + old))
        assert {one for one in before if after.get(one) != before[one]} == {name}
    assert sources.digests("a.json", "{}") != sources.digests("a.json", "{ }")


def test_statements_of_one_name_are_one() -> None:
    twice = sources.digests("a.py", "def f(): ...\ndef f(): pass\nif f:\n    g = 1\n")
    assert list(twice) == ["f", "if"]
    assert twice["f"] != sources.digests("a.py", "def f(): pass\n")["f"]


def test_a_statement_is_sought_where_it_was_and_then_everywhere(tmp_path: Path) -> None:
    def changed(**files: str) -> list[str]:
        for name in ("first", "second", "third"):
            path = tmp_path / "benchmarks" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(files[name]) if name in files else path.unlink(missing_ok=True)
        return sources.Tree.read(tmp_path).changed(known)

    known: sources.Sources = {}
    assert changed(first="A = 1\nB = 2\n", second="A = 1\n") == []
    known = sources.recorded(["benchmarks/first.py"], tmp_path)
    assert changed(first="B = 2\nA = 1\nC = 3\n", second="A = 7\n") == []
    assert changed(first="B = 2\n", third="A = 1\n") == []  # one statement moved
    assert changed(third="A = 1\nB = 2\n") == []  # the file moved
    assert changed(first="A = 9\nB = 2\n", second="A = 1\n") == ["A (first.py)"]  # its double does not stand for it
    assert changed(first="B = 2\n") == ["A (first.py)"]
    assert changed(third="A = 9\nB = 2\n") == ["A (first.py)"]


def test_a_pattern_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        sources.recorded(["nowhere.py"], tmp_path)
    assert sources.recorded(["*.py"], tmp_path) == {}


@pytest.mark.parametrize("name", sources.MEASURED)
def test_every_committed_result_names_the_files_of_its_kind(name: str) -> None:
    """Under whatever path they were; that they are not stale is for the report to say."""
    result = json.loads((RESULTS / name).read_text())
    assert len(result["sources"]) == len(sources.recorded(sources.MEASURED[name]))
    assert all(len(digest) == 12 for digests in result["sources"].values() for digest in digests.values())


DECISIVE = [
    ("cpu/operator.json", "aid_kernels/interpolated_attention/tuning/routes.py", "FEW_KEYS = 80", "FEW_KEYS = 4096"),
    ("cpu/operator.json", "aid_kernels/plan/construction.py", "[1 - t, t]", "[t, 1 - t]"),
    ("cpu/sequence.json", "aid_pipeline/config.py", "round(self.warmup * num_steps)", "0"),
    ("cpu/sequence.json", "aid_pipeline/config.py", "DEFAULT_GUIDANCE = 5.0", "DEFAULT_GUIDANCE = 6.0"),
    ("cpu/selection.json", "aid_pipeline/coefficients.py", "beta.ppf(", "beta.cdf("),
    ("cpu/selection.json", "aid_pipeline/conditioning/latents.py", "(t * angle).sin()", "(t * angle).cos()"),
    ("paper/paper.json", "aid_pipeline/sampling/prompt_switch.py", "floor", "ceil"),
    ("paper/paper.json", "aid_pipeline/attention/denoiser_hook.py", "True", "False"),
    ("paper/precision.json", "aid_pipeline/metrics/fidelity.py", "<= size", "< size"),
]


@pytest.mark.parametrize(("result", "path", "old", "new"), DECISIVE, ids=lambda value: Path(str(value)).name)
def test_a_change_of_what_decides_a_figure_makes_its_result_stale(result, path, old, new) -> None:
    text = (sources.ROOT / path).read_text("utf-8")
    assert old in text
    files = dict(sources.Tree.read().files)
    committed = json.loads((RESULTS / result).read_text("utf-8"))["sources"]
    assert not sources.Tree(files).changed(committed)
    files[path] = sources.digests(path, text.replace(old, new))
    assert sources.Tree(files).changed(committed)

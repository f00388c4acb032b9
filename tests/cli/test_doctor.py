"""`aid doctor`: the table, the file to attach and the cache, for a named list of shapes and for a model's own calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aid_kernels.interpolated_attention.tuning import settled

from ..support.command_line import aid


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AID_KERNELS_CACHE_DIR", str(tmp_path / "cache"))
    settled.forget()
    yield tmp_path / "cache"  # type: ignore[misc]
    settled.forget()


def test_the_miniatures_calls(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "doctor.json"
    result = aid("doctor", "--model", "miniature", "--out", str(out))
    assert result.exit_code == 0, result.output
    document = json.loads(out.read_text())
    assert [row["shape"]["layer"] for row in document["rows"]][-1] == "miniature, cross"
    assert len(document["rows"]) == len(list(cache.rglob("*.json"))) == 5
    for line in document["page"]:
        assert line in result.output
    assert f"Attach {out} to a report." in result.output


def test_a_model_is_examined_by_its_own_calls(model: str, cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "doctor.json"
    result = aid("doctor", "--model", model, "--dtype", "float32", "--out", str(out))
    assert result.exit_code == 0, result.output
    rows = json.loads(out.read_text())["rows"]
    assert all(row["measurement"]["outcomes"] and row["dtype"] == "float32" for row in rows)
    sizes = {(row["shape"]["query_length"], row["shape"]["key_length"]) for row in rows}
    # self-attention, and cross-attention to the prompt
    assert any(queries == keys for queries, keys in sizes)
    assert any(queries != keys for queries, keys in sizes)
    assert "layers)" in rows[0]["shape"]["layer"]


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--dtype", "int8"], "dtype must be one of"), (["--model", "{empty}"], "{empty}")],
    ids=["dtype", "model"],
)
def test_bad_input(options: list[str], said: str, cache: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    result = aid("doctor", *(option.format(empty=empty) for option in options), "--out", str(tmp_path / "out.json"))
    assert result.exit_code == 2, result.output
    assert said.format(empty=empty) in " ".join(result.stderr.split())
    assert not (tmp_path / "out.json").exists()

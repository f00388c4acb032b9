"""Dtypes on the command line: what "auto" took is said, recorded, and repeated by --from."""

import json

import pytest

from aid_pipeline import precision
from aid_pipeline.precision import MIXED

from ..support.command_line import aid, command, frames_of


def test_the_command_says_the_dtype_and_from_repeats_it(model, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda: True)
    result = aid(*command(model, tmp_path / "first", "--no-video"))
    assert result.exit_code == 0, result.output
    assert MIXED in result.output
    assert json.loads((tmp_path / "first" / "sequence.json").read_text())["model"]["dtype"] == MIXED
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda: False)
    result = aid("interpolate", "--from", str(tmp_path / "first"), "--out", str(tmp_path / "again"))
    assert result.exit_code == 0, result.output
    assert frames_of(tmp_path / "again") == frames_of(tmp_path / "first")
    result = aid(*command(model, tmp_path / "other", "--no-video"))
    assert json.loads((tmp_path / "other" / "sequence.json").read_text())["model"]["dtype"] == "float32"


@pytest.mark.parametrize("amx", [True, False])
def test_info_says_what_auto_is(amx, monkeypatch):
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda: amx)
    monkeypatch.setenv("COLUMNS", "200")
    text = aid("info").output
    assert "dtype auto" in text
    assert (MIXED in text) is amx

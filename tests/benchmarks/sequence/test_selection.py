"""The study of dynamic selection: goes on where it stopped, and never passes random weights off as a result."""

import json

import pytest

from aid_pipeline.miniature import MODEL_PATH
from benchmarks.sequence import selection, selection_page

TINY = ["--frames", "3", "--steps", "1", "--threads", "1"]


def row(name, uniform, dynamic, jumps=()):
    def figures(smooth, rows):
        names = [f"{figure} {kind}" for figure in ("smoothness", "consistency") for kind in ("own", "pixels")]
        return {"rows": rows, "seconds": rows / 10, **dict.fromkeys(names, smooth)}

    return {"pair": name, "uniform": figures(uniform, 14), "dynamic": figures(dynamic, 20), "jumps": list(jumps)}


def test_differences_are_paired():
    """Pairs differ far more among each other than the methods do within a pair."""
    rows = [
        row(str(i), 0.1 * i, 0.1 * i + 0.05 + 0.001 * (i % 2), [[0.1, 0.11, 0.5]] if i == 3 else ()) for i in range(8)
    ]
    told = selection_page.summary({"rows": rows})
    difference = told["figures"]["smoothness own"]["difference"]
    assert difference["value"] == pytest.approx(0.0505)
    assert 0.05 <= difference["low"] <= difference["high"] <= 0.051
    assert told["cost"] == told["time"] == told["longest"] == pytest.approx(20 / 14)
    assert (told["pairs"], told["smoother"], told["jumps"]) == (8, 8, 1)
    assert told["slow"] == 0
    rows[0]["dynamic"]["seconds"] = rows[0]["uniform"]["seconds"] * 3
    told = selection_page.summary({"rows": rows})
    assert told["slow"] == 1
    assert told["together"] == pytest.approx((7 * 20 / 14 + 3) / 8)


@pytest.mark.skipif((MODEL_PATH / "model_index.json").is_file(), reason="trained weights are there")
def test_random_weights_are_no_result():
    with pytest.raises(SystemExit, match="no trained weights"):
        selection.main([*TINY, "--pairs", "1"])


@pytest.mark.slow
def test_it_goes_on_where_it_stopped(tmp_path, capsys):
    place = [*TINY, "--out", str(tmp_path)]
    selection.main([*place, "--pairs", "1"])
    first = json.loads((tmp_path / "selection.json").read_text())
    assert first["rows"][0]["dynamic"]["rows"] / first["rows"][0]["uniform"]["rows"] == 4 / 3
    assert first["rows"][0]["uniform"]["seconds"] > 0
    selection.main([*place, "--pairs", "2"])
    second = json.loads((tmp_path / "selection.json").read_text())
    assert second["rows"][0] == first["rows"][0]
    assert len(second["rows"]) == 2
    assert "pair 1 of 2" not in capsys.readouterr().out
    text = (tmp_path / "selection.md").read_text()
    assert "| smoothness own |" in text
    assert "seconds of the whole call" in text
    with pytest.raises(SystemExit, match="other settings"):
        selection.main([*place, "--steps", "2", "--pairs", "2"])


def test_pairs_of_other_code_are_not_mixed(tmp_path):
    before = {"settings": {}, "rows": [], "sources": {"benchmarks/sequence/selection.py": {"pixels": "0" * 12}}}
    path = tmp_path / "selection.json"
    path.write_text(json.dumps(before))
    with pytest.raises(SystemExit, match=r"changed since \(pixels \(selection\.py\)\)"):
        selection.begin(path, {"settings": {}, "rows": [], "sources": {}})

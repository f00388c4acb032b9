"""Two dtypes of the comparison beside each other, on made-up sequences."""

import json

import pytest
import torch

from aid_pipeline.metrics.step_distances import StepMeasures
from benchmarks.paper import precision
from benchmarks.paper.pairs import draw_pairs
from benchmarks.paper.store import Store, Unit

pytest.importorskip("torchmetrics")
SETTINGS = {
    "model": {"name": "made up", "dtype": "bfloat16"},
    "prompts": "world",
    "warmup": 0.5,
    "beta": "3,3",
    "beta_from": "given",
    "instruments": {"distance": "d"},
}
METHODS = ("tei", "aid-o", "aid-o-uniform")


def fill(folder, dtype: str, added: float = 0.0, pairs: int = 6, **changed) -> None:
    settings = {**SETTINGS, **changed, "model": {**SETTINGS["model"], "dtype": dtype}}
    store = Store(folder, settings, "d")
    for pair in draw_pairs("world", pairs, 1):
        generator = torch.Generator().manual_seed(pair.index)
        unit = Unit(pair, torch.randn(2, 4, generator=generator))
        for method in METHODS:
            first, second = (0.1 + torch.rand(2, generator=generator, dtype=torch.float64)).tolist()
            more = added if method == "aid-o" else 0.0
            unit.interior[method] = torch.randn(3, 4, generator=generator)
            unit.steps[method] = StepMeasures((first + more, second + more), 1.0, "d")
        store.write(unit)


def test_what_another_dtype_changes(tmp_path, capsys):
    fill(tmp_path / "a", "bfloat16")
    fill(tmp_path / "b", "float32", added=0.25, pairs=4, beta_from="fitted to 2 other pairs")
    out = tmp_path / "out"
    precision.main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out), "--resamples", "5"])
    result = json.loads((out / "precision.json").read_text())
    assert result["sequences"] == 4
    assert result["dtypes"] == ["bfloat16", "float32"]
    assert set(result["changes"]) == set(METHODS)
    assert result["changes"]["aid-o"]["consistency"]["value"] == pytest.approx(0.25)
    assert result["changes"]["tei"]["consistency"]["value"] == 0
    ordering = next(
        row
        for row in result["orderings"]
        if (row["metric"], row["better"], row["worse"]) == ("consistency", "aid-o", "tei")
    )
    before, after = (found["difference"]["value"] for found in ordering["of"])
    assert after - before == pytest.approx(0.25)
    text = (out / "precision.md").read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    assert "| AID-O | " in text
    assert "0.2500 [0.2500, 0.2500]" in text
    assert str(tmp_path) not in text


def test_folders_that_cannot_be_compared(tmp_path):
    fill(tmp_path / "a", "bfloat16")
    fill(tmp_path / "same", "bfloat16")
    fill(tmp_path / "warm", "float32", warmup=1.0)
    fill(tmp_path / "none", "float32", pairs=0)
    for other, said in (
        ("same", "both folders were sampled in bfloat16"),
        ("warm", "differ in more than the dtype: warmup"),
        ("none", "holds no sequences yet"),
        ("absent", "not a folder of benchmarks.paper"),
    ):
        with pytest.raises(SystemExit, match=said):
            precision.main([str(tmp_path / "a"), str(tmp_path / other), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()

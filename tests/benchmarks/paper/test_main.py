"""The paper's comparison on an untrained miniature: what is shared, kept, gone on with, and said of the claims."""

import json

import pytest

from aid_pipeline import BetaPrior, load_model
from aid_pipeline.metrics.presets import preset
from aid_pipeline.selection.beta_fit import fit_beta
from aid_pipeline.spec import InterpolationSpec
from aid_pipeline.studies.comparison.methods import all_methods, pick, sample_methods
from benchmarks.paper import __main__ as paper
from benchmarks.paper import run as work
from benchmarks.paper.claims import CLAIMS, EQUAL_SPACING
from benchmarks.paper.pairs import Pair, draw_pairs
from benchmarks.paper.store import Store

pytest.importorskip("torchmetrics")
METHODS = all_methods(BetaPrior(3, 3))


def arguments(folder, out, *more: str) -> list[str]:
    measured_by = ["--distance", f"miniature:{folder}", "--features", f"miniature:{folder}"]
    small = ["--trials", "1", "--frames", "3", "--num-inference-steps", "1", "--guidance-scale", "1"]
    return ["--model", str(folder), "--out", str(out), "--resamples", "0", *measured_by, *small, *more]


@pytest.fixture
def loaded_once(miniature, monkeypatch):
    """The model is loaded for real, but not anew for every command."""
    pipe, instruments = load_model(str(miniature), device="cpu"), preset("miniature", *[f"miniature:{miniature}"] * 2)
    monkeypatch.setattr(paper, "load_model", lambda *_: pipe)
    monkeypatch.setattr(paper, "preset", lambda *_: instruments)
    return miniature


@pytest.mark.slow
def test_the_comparison_from_start_to_table(loaded_once, tmp_path, capsys):
    """A first run of two methods, a second that adds what is missing, a third with nothing to make."""
    out = tmp_path / "out"
    paper.main(arguments(loaded_once, out, "--methods", "tei,cross-fade", "--pairs", "2"))
    assert "about" in capsys.readouterr().out
    first = Store(out, json.loads((out / "settings.json").read_text()), "").read(draw_pairs("world", 1, 1)[0])
    with pytest.raises(SystemExit, match="at least 2 images"):  # it has one complete pair of 3 frames
        paper.main(arguments(loaded_once, out, "--pairs", "2", "--shard", "1/2"))
    paper.main(arguments(loaded_once, out, "--pairs", "2", "--shard", "0/2"))
    result = json.loads((out / "paper.json").read_text())
    assert set(result["summary"]["methods"]) == set(METHODS)
    assert result["summary"]["sequences"] == 2
    assert result["summary"]["pairs_by_trial"] == {"0": 2}
    assert len(result["summary"]["claims"]) == len(CLAIMS)
    assert len(result["summary"]["equal_spacing"]) == len(EQUAL_SPACING)
    text = (out / "paper.md").read_text()
    assert "miniature CLIP tower (not LPIPS)" in text
    assert "These are not LPIPS-VGG or Inception figures" in text
    assert str(tmp_path) not in text + json.dumps(result)
    for method in METHODS.values():
        assert f"| {method.title} |" in text or f"| *{method.title}* |" in text
    assert len((out / "sequences.csv").read_text().splitlines()) == 1 + 2 * len(METHODS)

    again = Store(out, json.loads((out / "settings.json").read_text()), "").read(draw_pairs("world", 1, 1)[0])
    assert set(first.steps) == {"tei", "cross-fade"}
    assert set(again.steps) == set(METHODS)
    assert again.steps["tei"] == first.steps["tei"]  # kept, not made anew
    units = sorted((out / "units").iterdir())
    before = [path.stat().st_mtime_ns for path in units]
    capsys.readouterr()
    paper.main(arguments(loaded_once, out, "--pairs", "2", "--minutes", "0"))
    assert "2 of 2 pairs are there already, 0 to make" in capsys.readouterr().out
    assert [path.stat().st_mtime_ns for path in units] == before
    result = json.loads((out / "paper.json").read_text())
    (out / "paper.json").write_text(json.dumps(result | {"sources_proven_same_as": ["abc"], "sources": {"x.py": {}}}))
    paper.main(arguments(loaded_once, out, "--table", "--pairs", "2"))
    result = json.loads((out / "paper.json").read_text())
    assert (result["sources"], result["sources_proven_same_as"]) == ({"x.py": {}}, ["abc"])
    with pytest.raises(SystemExit, match=r"other settings \(warmup: 0.5 then, 1.0 now\)"):
        paper.main(arguments(loaded_once, out, "--warmup", "1", "--table"))
    units[1].write_bytes(b"damaged")
    with pytest.raises(SystemExit, match=r"0-0001\.safetensors cannot be read"):
        paper.main(arguments(loaded_once, out, "--table", "--pairs", "2"))


@pytest.mark.slow
def test_a_prior_fitted_to_other_pairs(loaded_once, tmp_path, capsys):
    """It is fitted once, kept in the settings, and part of what decides the figures."""
    command = arguments(loaded_once, tmp_path / "out", "--methods", "tei+beta", "--pairs", "2", "--frames", "4")
    paper.main([*command, "--beta", "fit", "--fit-pairs", "1"])
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["beta_from"] == "fitted to 1 other pairs"
    assert f"({settings['beta']}) was fitted to 1 other pairs" in (tmp_path / "out" / "paper.md").read_text()
    alpha, beta = map(float, settings["beta"].split(","))
    call = {"frames": 4, "seed": work.FITTED_TRIAL * 1000, "num_inference_steps": 1, "guidance_scale": 1.0}
    pair = draw_pairs("world", 1, 1, first=work.FITTED_TRIAL)[0]
    spec = InterpolationSpec.between(*_prompts(pair), **call)
    samples = dict(sample_methods(paper.load_model(), spec, pick(["aid-o-uniform"], METHODS)))
    steps = paper.preset().steps(samples["aid-o-uniform"].images).distances
    expected = fit_beta((0, 1 / 3, 2 / 3, 1), steps)
    assert (alpha, beta) == pytest.approx((expected.alpha, expected.beta), rel=0.05)
    assert "and 1 pairs to fit the prior to: about" in capsys.readouterr().out
    paper.main([*command, "--beta", "fit", "--fit-pairs", "1"])
    assert "the prior is" not in capsys.readouterr().out
    paper.main([*command, "--beta", "fit", "--fit-pairs", "1", "--out", str(tmp_path / "new"), "--estimate"])
    assert "other pair" not in capsys.readouterr().out  # nothing is made to say how long it takes
    assert not (tmp_path / "new").exists()
    with pytest.raises(SystemExit, match="other settings"):
        paper.main([*command, "--beta", "3,3", "--table"])


def test_an_interrupt_while_the_prior_is_fitted(loaded_once, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "fit_prior", interrupted)
    command = arguments(loaded_once, tmp_path / "out", "--methods", "tei+beta", "--pairs", "2", "--frames", "4")
    with pytest.raises(SystemExit, match="fits it anew"):
        paper.main([*command, "--beta", "fit", "--fit-pairs", "1"])


def _prompts(pair: Pair) -> tuple[str, str]:
    return pair.prompt_a, pair.prompt_b


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--pairs", "0"], "--pairs must be at least 1"),
        (["--shard", "2/2"], "--shard takes k/n"),
        (["--beta", "fit"], "--beta fit needs at least 4 frames"),
        (["--frames", "2"], "--frames must be at least 3"),
        (["--beta", "3"], "--beta takes two"),
        (["--beta", "3,-1"], "--beta takes two"),
        (["--methods", "aid-x"], "got aid-x"),
        (["--table"], "holds no comparison yet"),
        (["--model", "no model"], "neither a folder"),
        (["--preset", "standard", "--distance", "miniature"], "lpips:FILE"),
    ],
)
def test_bad_input_ends_in_one_line(miniature, tmp_path, more, said):
    with pytest.raises(SystemExit, match=said):
        paper.main(arguments(miniature, tmp_path / "out", *more))
    assert not (tmp_path / "out").exists()

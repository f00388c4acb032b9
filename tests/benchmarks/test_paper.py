"""The paper's comparison on an untrained miniature: what is shared, kept, gone on with, and said of the claims."""

import itertools
import json

import pytest
import torch

from aid_pipeline import BetaPrior, interpolate, load_model
from aid_pipeline.errors import ArgumentError, MetricsError, OutputFolderError
from aid_pipeline.metrics.presets import preset
from aid_pipeline.metrics.step_distances import StepMeasures
from aid_pipeline.selection.beta_fit import fit_beta
from aid_pipeline.studies.comparison.methods import all_methods, pick, rows, runs, sample_methods
from benchmarks.paper import __main__ as paper
from benchmarks.paper.claims import CLAIMS, EQUAL_SPACING, PAPER_TABLE, check_claims
from benchmarks.paper.pairs import Pair, draw_pairs
from benchmarks.paper.store import Store, Unit
from benchmarks.paper.table import _beside_the_cross_fade, page, sequences_csv, summarise

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
    with pytest.raises(SystemExit, match=r"other settings \(warmup: 0.5 then, 1.0 now\)"):
        paper.main(arguments(loaded_once, out, "--warmup", "1", "--table"))
    units[1].write_bytes(b"damaged")
    with pytest.raises(SystemExit, match=r"0-0001\.safetensors cannot be read"):
        paper.main(arguments(loaded_once, out, "--table", "--pairs", "2"))


def test_methods_that_share_a_call_get_their_own_frames(miniature):
    """Frames made together with another spacing's are those that `interpolate` makes alone."""
    pipe = load_model(str(miniature), device="cpu")
    call = {"num_inference_steps": 2, "guidance_scale": 3.0}
    wanted = pick(["tei", "di", "aid-o", "aid-o-uniform", "aid-i-unfused", "cross-fade"], METHODS)
    assert len(runs(wanted, 4)) == 4
    assert rows(wanted, 4) == 2 + 2 + 2 + 4 + 2
    reports: list[tuple[int, int]] = []
    made = dict(
        sample_methods(
            pipe, "a red sphere", "a blue cube", wanted, 4, 3, **call, progress=lambda *done: reports.append(done)
        )
    )
    assert reports[-1] == (24, 24)
    assert reports == sorted(reports)
    assert list(made)[:2] == ["aid-o", "aid-o-uniform"]
    for name in ("tei", "di", "aid-o", "aid-o-uniform", "aid-i-unfused"):
        method = METHODS[name]
        alone = interpolate(
            pipe, "a red sphere", "a blue cube", frames=4, config=method.config, coefficients=method.prior, seed=3,
            output_type="pt", **call,
        )  # fmt: skip
        names = list(made)
        assert not torch.equal(made[name].images[1], made[names[names.index(name) - 1]].images[1]), name
        assert made[name].coefficients == alone.coefficients
        assert (made[name].images - alone.images).abs().max() < 2 / 255, name
    assert not torch.equal(made["aid-o"].images[1], made["aid-o-uniform"].images[1])
    fade = made["cross-fade"].images
    assert torch.equal(fade[[0, -1]], made["aid-o"].images[[0, -1]])
    middle = torch.lerp(fade[0], fade[-1], 1 / 3)
    assert (fade[1] - middle).abs().max() <= 0.5 / 255 + 1e-6


def test_any_methods_may_be_missing_from_a_pair(miniature):
    """A pair that was cut off after AID-O goes on with inner first, whose ends leave cross-attention plain."""
    pipe = load_model(str(miniature), device="cpu")
    call = {"frames": 3, "num_inference_steps": 2, "guidance_scale": 3.0}
    missing = pick(["tei", "aid-i", "aid-i-unfused", "aid-o-unfused"], METHODS)
    made = dict(sample_methods(pipe, "a red sphere", "a blue cube", missing, **call))
    whole = dict(sample_methods(pipe, "a red sphere", "a blue cube", METHODS, **call))
    assert set(made) == set(missing)
    for name in missing:
        assert (made[name].images - whole[name].images).abs().max() < 2 / 255, name


def test_a_prior_fitted_to_other_pairs(loaded_once, tmp_path, capsys):
    """It is fitted once, kept in the settings, and part of what decides the figures."""
    command = arguments(loaded_once, tmp_path / "out", "--methods", "tei+beta", "--pairs", "2", "--frames", "4")
    paper.main([*command, "--beta", "fit", "--fit-pairs", "1"])
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["beta_from"] == "fitted to 1 other pairs"
    assert f"({settings['beta']}) was fitted to 1 other pairs" in (tmp_path / "out" / "paper.md").read_text()
    alpha, beta = map(float, settings["beta"].split(","))
    made = dict(sample_methods(
        paper.load_model(), *_prompts(draw_pairs("world", 1, 1, first=paper.FITTED_TRIAL)[0]),
        pick(["aid-o-uniform"], METHODS), 4, paper.FITTED_TRIAL * 1000, 1, 1.0,
    ))  # fmt: skip
    steps = paper.preset().steps(made["aid-o-uniform"].images).distances
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

    monkeypatch.setattr(paper, "fit_prior", interrupted)
    command = arguments(loaded_once, tmp_path / "out", "--methods", "tei+beta", "--pairs", "2", "--frames", "4")
    with pytest.raises(SystemExit, match="fits it anew"):
        paper.main([*command, "--beta", "fit", "--fit-pairs", "1"])


def test_a_captions_file_with_a_byte_order_mark(tmp_path):
    (tmp_path / "captions.txt").write_text("a red sphere\na blue cube\n", encoding="utf-8-sig")
    (pair,) = draw_pairs(str(tmp_path / "captions.txt"), 1, 1)
    assert {pair.prompt_a, pair.prompt_b} == {"a red sphere", "a blue cube"}


def _prompts(pair: Pair) -> tuple[str, str]:
    return pair.prompt_a, pair.prompt_b


def test_unknown_methods_and_a_cross_fade_alone():
    with pytest.raises(ArgumentError, match="got morph"):
        pick(["tei", "morph"], METHODS)
    with pytest.raises(ArgumentError, match="has no ends"):
        runs(pick(["cross-fade"], METHODS), 7)


def test_pairs_do_not_depend_on_how_many_are_asked_for(tmp_path):
    for source in ("world", "cifar10"):
        few, many = draw_pairs(source, 3, 1), draw_pairs(source, 5, 2)
        assert many[:3] == few
        assert {pair.trial for pair in many} == {0, 1}
        assert len({(pair.prompt_a, pair.prompt_b) for pair in many}) > 7
        assert all(pair.prompt_a != pair.prompt_b for pair in many)
        assert len({pair.seed for pair in many}) == 10
    assert draw_pairs("cifar10", 1, 1)[0].prompt_a.startswith("a photo of a")
    (tmp_path / "captions.txt").write_text("a cat\n\na dog\na cat\n")
    assert {draw_pairs(str(tmp_path / "captions.txt"), 1, 1)[0].prompt_a} <= {"a cat", "a dog"}
    (tmp_path / "captions.txt").write_text("a cat\na cat\n")
    for wrong in (tmp_path / "captions.txt", tmp_path / "none.txt"):
        with pytest.raises(ArgumentError):
            draw_pairs(str(wrong), 1, 1)


def drawn_units(count: int, better: float, size: int = 4) -> list[Unit]:
    """Units in which AID-O's steps are `better` times TEI's, and its frames lie where the ends do."""
    generator = torch.Generator().manual_seed(0)
    units = []
    for index in range(count):
        unit = Unit(Pair(0, index, "a", "b", index), endpoints=torch.randn(2, size, generator=generator))
        steps = (torch.rand(3, generator=generator) + 0.5).tolist()
        for name, factor, shift in (("tei", 1.0, 2.0), ("aid-o", better, 0.0)):
            unit.steps[name] = StepMeasures(tuple(step * factor for step in steps), 2.0, "drawn")
            unit.interior[name] = torch.randn(2, size, generator=generator) + shift
        units.append(unit)
    return units


@pytest.mark.parametrize(("better", "verdict"), [(0.8, "holds"), (1.25, "does not hold"), (1.0, "not decided")])
def test_verdicts(better, verdict):
    methods = pick(["tei", "aid-o"], METHODS)
    found = {claim["metric"]: claim for claim in check_claims(drawn_units(20, better), methods, 50)}
    assert set(found) == {"consistency", "FID", "smoothness"}
    assert found["consistency"]["verdict"] == verdict
    assert found["FID"]["verdict"] == "holds"
    assert found["smoothness"]["verdict"] == "not decided"  # equal but for the scale


def test_only_complete_pairs_count():
    methods = pick(["tei", "aid-o"], METHODS)
    units = drawn_units(6, 0.5)
    del units[-1].steps["aid-o"]
    summary = summarise(units, methods, "drawn", resamples=9)
    assert summary["sequences"] == 5
    tei = [unit.steps["tei"].consistency for unit in units[:5]]
    assert summary["methods"]["tei"]["consistency"]["value"] == pytest.approx(sum(tei) / 5)
    assert summary["methods"]["aid-o"]["consistency"]["value"] == pytest.approx(sum(tei) / 10)
    assert sequences_csv(units, methods).count("\n") == 12
    with pytest.raises(MetricsError, match="no pair has been made with every method"):
        summarise(units[-1:], methods, "drawn")


def test_what_the_cross_fade_wins_is_read_from_the_figures():
    units = drawn_units(4, 0.5)
    for unit in units:
        unit.steps["cross-fade"] = StepMeasures((0.9, 0.9, 0.9), 2.0, "drawn")
        unit.interior["cross-fade"] = unit.interior["tei"]
    rows = summarise(units, pick(["tei", "aid-o", "cross-fade"], METHODS), "drawn", resamples=0)["methods"]
    assert "beats every method on smoothness:" in _beside_the_cross_fade(rows)[0]
    rows["cross-fade"]["consistency"]["value"] = 0.0
    assert "on smoothness and consistency:" in _beside_the_cross_fade(rows)[0]


def test_a_unit_comes_back_as_it_was(tmp_path):
    settings = {"frames": 4}
    store = Store(tmp_path / "new", settings, "drawn")
    unit = drawn_units(1, 0.5)[0]
    assert store.read(unit.pair).missing(["tei"]) == ["tei"]
    store.write(unit)
    again = Store(tmp_path / "new", settings, "drawn").read(unit.pair)
    assert again.steps == unit.steps
    assert torch.equal(again.endpoints, unit.endpoints)
    assert torch.equal(again.interior["aid-o"], unit.interior["aid-o"])
    with pytest.raises(OutputFolderError, match="another pair"):
        store.read(Pair(0, 0, "a", "other", 0))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OutputFolderError, match="not empty"):
        Store(tmp_path / "mine", settings, "drawn")


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


def test_the_papers_own_figures_stand_apart():
    methods = pick(["tei", "aid-o"], METHODS)
    summary = summarise(drawn_units(3, 0.5), methods, "drawn", resamples=0)
    said = {"distance": "LPIPS-VGG16", "features": "Inception v3", "frames": "as they are"}
    settings = {
        "model": {"name": "a model"}, "prompts": "world", "frames": 4, "num_inference_steps": 2, "guidance_scale": 5.0,
        "warmup": 0.5, "noise": "one", "beta": "3,3", "beta_from": "given", "instruments": said,
    }  # fmt: skip
    asked = {"pairs": 3, "trials": 1}
    text = page({"summary": summary, "settings": settings, "asked": asked, "machine_line": "m", "command": "c"})
    ours, _, papers = text.partition("## The paper's own figures")
    assert "These are not LPIPS" not in ours
    assert "**another model, other prompts, another" in papers
    for figures in PAPER_TABLE.values():
        for _, consistent, fid in figures.values():
            assert f"{consistent:.4f} | {fid:.2f}" in papers
            assert f"{fid:.2f}" not in ours


def test_every_ordering_of_the_papers_table_is_a_claim():
    """By hand, from best to worst; each order is that of both data sets."""
    orders = {
        "smoothness": ("aid-i", "aid-o", "di", "tei"),
        "consistency": ("aid-o", "aid-i", "tei", "di"),
        "fidelity": ("aid-o", "di", "aid-i", "tei"),
    }
    expected = {(metric, *two) for metric, order in orders.items() for two in itertools.combinations(order, 2)}
    stated = [(claim.metric, claim.better, claim.worse) for claim in CLAIMS if claim.source == "Table 1"]
    assert len(stated) == len(expected)
    assert set(stated) == expected
    for metric in orders:  # spacing set apart excuses no metric alone
        assert sum(claim.metric == metric and claim.better.startswith("aid") for claim in EQUAL_SPACING) == 4

"""The table of made-up units: verdicts, what counts, the page, the paper's claims."""

import itertools
from typing import Any

import pytest

from aid_pipeline import BetaPrior
from aid_pipeline.errors import MetricsError
from aid_pipeline.metrics.step_distances import StepMeasures
from aid_pipeline.studies.comparison.methods import all_methods, pick
from benchmarks.paper.claims import CLAIMS, EQUAL_SPACING, PAPER_TABLE, check_claims
from benchmarks.paper.table import page, sequences_csv, summarise

from .drawn import drawn_units

pytest.importorskip("torchmetrics")
METHODS = all_methods(BetaPrior(3, 3))


@pytest.mark.parametrize(("better", "verdict"), [(0.8, "holds"), (1.25, "does not hold"), (1.0, "not decided")])
def test_verdicts(better, verdict):
    methods = pick(["tei", "aid-o"], METHODS)
    found = {claim["metric"]: claim for claim in check_claims(drawn_units(20, better), methods, 50)}
    assert set(found) == {"consistency", "FID", "smoothness"}
    assert found["consistency"]["verdict"] == verdict
    assert found["FID"]["verdict"] == "holds"
    assert found["smoothness"]["verdict"] == "not decided"  # equal but for the scale


def written(summary: dict[str, Any]) -> str:
    """The page of a comparison with that summary."""
    said = {"distance": "LPIPS-VGG16", "features": "Inception v3", "frames": "as they are"}
    settings = {
        "model": {"name": "a model"}, "prompts": "world", "frames": 4, "num_inference_steps": 2, "guidance_scale": 5.0,
        "warmup": 0.5, "noise": "one", "beta": "3,3", "beta_from": "given", "instruments": said,
    }  # fmt: skip
    asked = {"pairs": 3, "trials": 1}
    return page({"summary": summary, "settings": settings, "asked": asked, "machine_line": "m", "command": "c"})


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
    with pytest.raises(MetricsError, match="no pair has been sampled with every method"):
        summarise(units[-1:], methods, "drawn")


def test_what_the_cross_fade_wins_is_read_from_the_figures():
    units = drawn_units(4, 0.5)
    for unit in units:
        unit.steps["cross-fade"] = StepMeasures((0.9, 0.9, 0.9), 2.0, "drawn")
        unit.interior["cross-fade"] = unit.interior["tei"]
    summary = summarise(units, pick(["tei", "aid-o", "cross-fade"], METHODS), "drawn", resamples=0)
    assert "cross-fade beats every method on smoothness:" in written(summary)
    summary["methods"]["cross-fade"]["consistency"]["value"] = 0.0
    assert "cross-fade beats every method on smoothness and consistency:" in written(summary)


def test_the_papers_own_figures_stand_apart():
    methods = pick(["tei", "aid-o"], METHODS)
    text = written(summarise(drawn_units(3, 0.5), methods, "drawn", resamples=0))
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

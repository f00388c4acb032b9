"""The search for a Beta prior, on a known landscape and on a tiny pipeline."""

import builtins
import itertools

import pytest
from scipy.stats import beta

from aid_pipeline import AIDConfig, BetaPrior, Selection, interpolate
from aid_pipeline.coefficients import frame_coefficients
from aid_pipeline.errors import SelectionError
from aid_pipeline.selection.bayes import PROBES, RANGE, evaluations, search_prior
from tests.support.families import FAMILIES, PROMPTS
from tests.support.interpolation import arguments

from .test_run import Rows, colours


def distances_of(target):
    """Of 7 frames whose image changes as the CDF of `target`: that prior spaces them evenly."""
    curve = beta(*target)

    def distances(prior):
        t = frame_coefficients(prior, 7)
        return [curve.cdf(b) - curve.cdf(a) for a, b in itertools.pairwise(t)]

    return distances


def test_the_search_beats_its_probes_and_repeats_itself():
    pytest.importorskip("bayes_opt")
    search = search_prior(distances_of((4, 7)), steps=8, seed=3)
    assert [entry[:2] for entry in search.tried[:9]] == list(PROBES)
    assert len(search.tried) == evaluations(8) == 17
    assert all(RANGE[0] <= value <= RANGE[1] for entry in search.tried for value in entry[:2])
    assert max(entry[2] for entry in search.tried[9:]) > max(entry[2] for entry in search.tried[:9])
    assert max(search.tried, key=lambda entry: entry[2])[:2] == (search.best.alpha, search.best.beta)
    assert search_prior(distances_of((4, 7)), steps=8, seed=3) == search


def test_on_a_pipeline_the_result_is_the_plain_sequence_of_the_best_prior():
    pytest.importorskip("bayes_opt")
    family = FAMILIES["sd1"]
    pipe, wanted = family.pipeline(), arguments(family) | {"frames": 4, "config": AIDConfig(warmup=1.0)}
    with Rows(pipe) as rows:
        chosen = interpolate(pipe, *PROMPTS, select=Selection("bayes", colours, steps=1), **wanted)
    record = chosen.settings["selection"]
    assert sum(rows.calls) == 2 * record["denoised_frames"] * wanted["num_inference_steps"]
    assert record["denoised_frames"] == 2 + 10 * 2 + 4
    plain = interpolate(pipe, *PROMPTS, coefficients=BetaPrior(*record["prior"]), **wanted)
    assert (chosen.images == plain.images).all()
    assert record["distances"] == pytest.approx(colours(plain.images[:-1], plain.images[1:]).tolist(), abs=1e-5)


def test_a_missing_extra_is_named_before_any_denoising(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("bayes_opt"):
            raise ModuleNotFoundError("No module named 'bayes_opt'", name="bayes_opt")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    family = FAMILIES["sd1"]
    with pytest.raises(SelectionError, match=r"aid-kernels\[select\]"):
        interpolate(family.pipeline(), *PROMPTS, frames=4, select="bayes", **arguments(family))

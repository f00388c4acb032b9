"""The paper's methods as the comparison makes them, on an untrained miniature: frames are those `interpolate` makes."""

import pytest
import torch

from aid_pipeline import BetaPrior, interpolate, load_model
from aid_pipeline.errors import ArgumentError
from aid_pipeline.spec import InterpolationSpec
from aid_pipeline.studies.comparison.methods import all_methods, pick, rows, runs, sample_methods

METHODS = all_methods(BetaPrior(3, 3))
PROMPTS = "a red sphere", "a blue cube"


@pytest.mark.slow
def test_methods_that_share_a_call_get_their_own_frames(miniature):
    """Frames made together with another spacing's are those that `interpolate` makes alone."""
    pipe = load_model(str(miniature), device="cpu")
    call = {"num_inference_steps": 2, "guidance_scale": 3.0}
    wanted = pick(["tei", "di", "aid-o", "aid-o-uniform", "aid-i-unfused", "cross-fade"], METHODS)
    assert len(runs(wanted, 4)) == 4
    assert rows(wanted, 4) == 2 + 2 + 2 + 4 + 2
    reports: list[tuple[int, int]] = []
    spec = InterpolationSpec.between(*PROMPTS, frames=4, seed=3, **call)
    made = dict(sample_methods(pipe, spec, wanted, lambda *done: reports.append(done)))
    assert reports[-1] == (24, 24)
    assert reports == sorted(reports)
    assert list(made)[:2] == ["aid-o", "aid-o-uniform"]
    for name in ("tei", "di", "aid-o", "aid-o-uniform", "aid-i-unfused"):
        method = METHODS[name]
        alone = interpolate(
            pipe, *PROMPTS, frames=4, config=method.config, coefficients=method.prior, seed=3,
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


@pytest.mark.slow
def test_any_methods_may_be_missing_from_a_pair(miniature):
    """A pair that was cut off after AID-O goes on with inner first, whose ends leave cross-attention plain."""
    pipe = load_model(str(miniature), device="cpu")
    call = {"frames": 3, "num_inference_steps": 2, "guidance_scale": 3.0}
    missing = pick(["tei", "aid-i", "aid-i-unfused", "aid-o-unfused"], METHODS)
    spec = InterpolationSpec.between(*PROMPTS, **call)
    made, whole = (dict(sample_methods(pipe, spec, methods)) for methods in (missing, METHODS))
    assert set(made) == set(missing)
    for name in missing:
        assert (made[name].images - whole[name].images).abs().max() < 2 / 255, name


def test_unknown_methods_and_a_cross_fade_alone():
    with pytest.raises(ArgumentError, match="got morph"):
        pick(["tei", "morph"], METHODS)
    with pytest.raises(ArgumentError, match="has no endpoints"):
        runs(pick(["cross-fade"], METHODS), 7)

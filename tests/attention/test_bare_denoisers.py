"""Every way in which layers differ, in float64: endpoints are stock and interior frames the oracle's, in any chunks."""

import pytest
import torch

from aid_kernels import InterpolationPlan
from aid_pipeline import AIDConfig, Frames, aid
from aid_pipeline.errors import RowsError, UnsupportedAttentionError
from tests.support.bare_denoisers import BARE
from tests.support.oracle import AttentionOracle, Settings

ROWS = ("sample", "hidden_states", "encoder_hidden_states", "timestep", "attention_mask", "encoder_attention_mask")
COEFFICIENTS = (0.0, 0.25, 0.75, 1.0)  # float32 has them exactly


def run(model, call):
    out = model(**call, return_dict=False)[0]
    return torch.stack(out) if isinstance(out, list) else out


def interpolated(model, call, mode, chunk=None, **fields):
    plan = InterpolationPlan.sequence(COEFFICIENTS)
    embeds = call["encoder_hidden_states"].unflatten(0, (len(COEFFICIENTS), -1))[:, 0]
    frames = Frames(plan, embeds, 1, chunk=chunk, has_guide=True, **fields)
    with aid(model, AIDConfig(mode=mode, warmup=1.0), frames) as handle:
        return run(model, call), handle.report()


def expected(model, call, mode):
    """One interior frame after the other, in a call of its own between the endpoints."""
    found = []
    for frame, t in enumerate(COEFFICIENTS[1:-1], start=1):
        rows = [0, frame, len(COEFFICIENTS) - 1]
        three = {
            name: value.unflatten(0, (len(COEFFICIENTS), -1))[rows].flatten(0, 1) if name in ROWS else value
            for name, value in call.items()
        }
        with AttentionOracle(model, t, 1, Settings(mode=mode, warmup=1.0), "none") as oracle:
            found.append(run(model, three)[1])
        assert oracle.interpolated
    return torch.stack(found)


@pytest.mark.parametrize("mode", ["outer", "inner"])
@pytest.mark.parametrize("name", BARE)
def test_frames_are_the_oracles_in_any_chunks(name, mode):
    model, call = BARE[name].fresh(), BARE[name].call(len(COEFFICIENTS))
    plain = run(model, call)
    right = expected(model, call, mode)
    assert (right - plain[1:-1]).abs().max() > 1e-4 * plain.std()
    for chunk in (None, 3, 1):
        frames, _ = interpolated(model, call, mode, chunk)
        assert (frames[1:-1] - right).abs().max() < 1e-10 * plain.std(), chunk
        assert (frames[[0, -1]] - plain[[0, -1]]).abs().max() < 1e-10 * plain.std(), chunk


def test_layers_without_a_softmax_are_named_as_plain():
    _, report = interpolated(BARE["sana"].fresh(), BARE["sana"].call(len(COEFFICIENTS)), "outer")
    assert report.startswith("4 layers: ")
    assert "plain 2" in report.splitlines()[0]
    assert "linear attention has no softmax" in report
    assert "  transformer_blocks.1.attn1: plain" in report.splitlines()
    assert "  transformer_blocks.1.attn2: sdpa" in report.splitlines()


@pytest.mark.parametrize("name", ["kandinsky3", "sana"])
def test_unconditional_rows_that_see_nothing_stay_stock(name):
    """Their additive mask is then the same for all keys: attention to all of them."""
    bare = BARE[name]
    model, call = bare.fresh(), bare.call(2 * len(COEFFICIENTS), tokens=9)
    call["encoder_attention_mask"][: len(COEFFICIENTS)] = 0
    plain = run(model, call)
    conditional = {name: value[len(COEFFICIENTS) :] for name, value in call.items()}
    right, _ = interpolated(model, conditional, "outer")
    plan = InterpolationPlan.sequence(COEFFICIENTS)
    for chunk in (None, 3):
        frames = Frames(plan, conditional["encoder_hidden_states"], 1, chunk=chunk)
        with aid(model, AIDConfig(mode="outer", warmup=1.0), frames):
            out = run(model, call)
        assert (out[: len(COEFFICIENTS)] - plain[: len(COEFFICIENTS)]).abs().max() < 1e-10
        assert (out[len(COEFFICIENTS) :] - right).abs().max() < 1e-10


def test_a_frame_that_sees_nothing_is_refused():
    bare = BARE["sana"]
    model, call = bare.fresh(), bare.call(len(COEFFICIENTS))
    call["encoder_attention_mask"][1] = 0
    with pytest.raises(UnsupportedAttentionError, match="encoder_attention_mask hides every key of row 1"):
        interpolated(model, call, "outer")


def test_a_denoiser_whose_layers_all_have_rows_of_their_own_is_refused():
    """Rows packed into one sequence, for instance."""

    class Packed(type(BARE["small_heads"].fresh())):
        def forward(self, sample, timestep, encoder_hidden_states, **options):
            return super().forward(sample[:3], timestep[:3], encoder_hidden_states[:3], **options)

    model = BARE["small_heads"].fresh()
    model.__class__ = Packed
    with pytest.raises(RowsError, match=r"nothing was interpolated: layer .* called with 3 rows"):
        interpolated(model, BARE["small_heads"].call(len(COEFFICIENTS)), "outer")

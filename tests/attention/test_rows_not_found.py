"""Frames that are not in the denoiser call as `Frames` describes them."""

import pytest
import torch

from aid_kernels import InterpolationPlan
from aid_pipeline import AIDConfig, Frames, aid
from aid_pipeline.errors import ConfigError, RowsError
from tests.support.families import FAMILIES
from tests.support.oracle import Settings, oracle_frames
from tests.support.running import TOLERANCE, UNEVEN, describe, distance, interpolated, stock

SD1 = FAMILIES["sd1"]
FULL = AIDConfig(warmup=1.0, impl="sdpa")
M = len(UNEVEN)


def test_wrong_frames_are_refused_when_made():
    embeds = torch.randn(M, 5, 8)
    plan = InterpolationPlan.sequence(UNEVEN)
    for fields in (
        {"prompt_embeds": embeds[:3]},
        {"prompt_embeds": embeds[0]},
        {"prompt_embeds": embeds / 0},
        {"num_steps": 0},
        {"num_steps": 2.0},
        {"num_images_per_prompt": 0},
        {"chunk": 0},
        {"chunk": -1},
        {"chunk": True},
        {"plan": list(UNEVEN)},
        {"image_embeds": [torch.zeros(3, 1, 8)]},
    ):
        with pytest.raises(ConfigError):
            Frames(**{"plan": plan, "prompt_embeds": embeds, "num_steps": 3} | fields)


def test_embeddings_that_are_not_in_the_call(untouched):
    pipe, call = untouched
    wrong = call["prompt_embeds"] + 1
    with pytest.raises(RowsError), aid(pipe, FULL, describe(call, UNEVEN, prompt_embeds=wrong)):
        stock(pipe, call)


def test_frames_in_another_order_than_the_call(untouched):
    pipe, call = untouched
    with pytest.raises(RowsError), aid(pipe, FULL, describe(call, UNEVEN, prompt_embeds=call["prompt_embeds"].flip(0))):
        stock(pipe, call)


def test_a_wrong_number_of_images_per_prompt(untouched):
    pipe, call = untouched
    with pytest.raises(RowsError), aid(pipe, FULL, describe(call, UNEVEN, num_images_per_prompt=2)):
        stock(pipe, call)


@pytest.mark.parametrize("name", ["sd1", "flux_true_cfg"])
def test_equal_conditional_and_unconditional_embeddings(name):
    """In one call and in a call each: which rows are the frames cannot be told."""
    family = FAMILIES[name]
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN, steps=2)
    call |= {key: call[key.removeprefix("negative_")].clone() for key in call if key.startswith("negative_")}
    with pytest.raises(RowsError):
        interpolated(pipe, call, UNEVEN, FULL)
    assert not family.denoiser(pipe)._forward_pre_hooks


@pytest.mark.parametrize("steps", [1, 3], ids=["fewer", "more"])
def test_another_number_of_steps_than_said(steps):
    """Fewer steps than the call runs is an error; a call that stops early (interrupted) is not."""
    pipe = SD1.pipeline()
    call = SD1.call(pipe, UNEVEN, steps=2)
    if steps < 2:
        with pytest.raises(ConfigError, match="num_steps=1"):
            interpolated(pipe, call, UNEVEN, FULL, num_steps=steps)
    else:
        expected = oracle_frames(pipe, call, UNEVEN, Settings(warmup=1.0), "front")
        assert distance(interpolated(pipe, call, UNEVEN, FULL, num_steps=steps), expected) < TOLERANCE

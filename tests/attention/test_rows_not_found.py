"""Frames that are not in the denoiser call as `Frames` describes them."""

import pytest

from aid_pipeline import AIDConfig, aid
from aid_pipeline.errors import ConfigError, RowsError
from tests.support.families import FAMILIES
from tests.support.oracle import Settings, oracle_frames
from tests.support.running import TOLERANCE, UNEVEN, describe, distance, interpolated, stock

SD1 = FAMILIES["sd1"]
FULL = AIDConfig(warmup=1.0, impl="sdpa")


@pytest.mark.parametrize("total", [1, 2])
def test_embeddings_that_are_not_in_the_call(untouched, total):
    """An error before the second step, or after the only one."""
    pipe, call = untouched
    steps = []
    call = call | {"num_inference_steps": total, "callback_on_step_end": lambda *step: steps.append(step[1]) or {}}
    wrong = call["prompt_embeds"] + 1
    with (
        pytest.raises(RowsError, match="very prompt_embeds"),
        aid(pipe, FULL, describe(call, UNEVEN, prompt_embeds=wrong)),
    ):
        stock(pipe, call)
    assert steps == [0]


def test_frames_in_another_order_than_the_call(untouched):
    pipe, call = untouched
    with pytest.raises(RowsError), aid(pipe, FULL, describe(call, UNEVEN, prompt_embeds=call["prompt_embeds"].flip(0))):
        stock(pipe, call)


def test_a_wrong_number_of_images_per_prompt(untouched):
    pipe, call = untouched
    with pytest.raises(RowsError), aid(pipe, FULL, describe(call, UNEVEN, num_images_per_prompt=2)):
        stock(pipe, call)


@pytest.mark.parametrize(
    ("name", "said"), [("sd1", "guidance_scale=1"), ("flux_true_cfg", "two different calls")], ids=["one", "two"]
)
def test_equal_conditional_and_unconditional_embeddings(name, said):
    """In one call and in a call each: which rows are the frames cannot be told, and no step is made."""
    family = FAMILIES[name]
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN, steps=2)
    call |= {key: call[key.removeprefix("negative_")].clone() for key in call if key.startswith("negative_")}
    steps = []
    call |= {"callback_on_step_end": lambda *step: steps.append(step) or {}}
    with pytest.raises(RowsError, match=said):
        interpolated(pipe, call, UNEVEN, FULL)
    assert not steps
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


def test_nothing_is_looked_for_when_nothing_is_interpolated(untouched):
    pipe, call = untouched
    with aid(pipe, AIDConfig(mode="none"), describe(call, UNEVEN, prompt_embeds=call["prompt_embeds"] + 1)):
        stock(pipe, call)

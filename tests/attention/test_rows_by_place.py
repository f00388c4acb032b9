"""Frames whose embeddings change after the first step, in a callback or before the denoiser: they go on by place."""

import pytest

from aid_pipeline import AIDConfig, aid
from aid_pipeline.errors import RowsError
from tests.support.families import FAMILIES
from tests.support.running import UNEVEN, describe, distance, interpolated, stock

CONFIG = AIDConfig(warmup=1.0, impl="sdpa")


def changing(factor, names=("prompt_embeds",)):
    """A callback that scales tensors at the end of every step."""

    def callback(pipe, step, timestep, tensors):
        return {name: tensors[name] * factor for name in names}

    return {"callback_on_step_end": callback, "callback_on_step_end_tensor_inputs": list(names)}


@pytest.mark.parametrize("name", ["sd1", "sdxl", "sd3", "flux"])
@pytest.mark.parametrize("chunk", [None, 3])
def test_a_callback_that_changes_embeddings_leaves_interpolation_on(name, chunk):
    """A change too small to matter gives the frames without it; plain attention would be far from them."""
    family = FAMILIES[name]
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN)
    frames = interpolated(pipe, call, UNEVEN, CONFIG, chunk=chunk)
    changed = interpolated(pipe, call | changing(1 + 1e-6), UNEVEN, CONFIG, chunk=chunk)
    plain = stock(pipe, call)
    assert distance(changed, frames) < 1e-3 < distance(plain, frames)


def test_a_prompt_scheduled_by_a_callback_reaches_the_frames():
    family = FAMILIES["sd1"]
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN)
    frames = interpolated(pipe, call, UNEVEN, CONFIG)
    halved = interpolated(pipe, call | changing(0.5), UNEVEN, CONFIG)
    assert distance(halved, frames) > 1e-3


def test_inner_does_not_take_changed_embeddings_for_a_lerp():
    """Cross-attention may stay plain only where the frames' embeddings are the mix of their endpoints'."""
    family = FAMILIES["sd1"]
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN)
    inner = AIDConfig(mode="inner", warmup=1.0, impl="sdpa")

    def bent(pipe, step, timestep, tensors):
        embeds = tensors["prompt_embeds"].clone()
        embeds[-len(UNEVEN) + 1 : -1] *= -2
        return {"prompt_embeds": embeds}

    bending = {"callback_on_step_end": bent, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    lerped = interpolated(pipe, call | bending, UNEVEN, inner)
    guided = interpolated(pipe, call | bending, UNEVEN, inner, has_guide=True)
    assert distance(lerped, guided) < distance(guided, stock(pipe, call | bending)) / 10


@pytest.mark.parametrize(
    ("kept", "factor", "said"),
    [(1, 1.0, "of embeddings"), (len(UNEVEN), 0.9, "8")],
    ids=["fewer rows than latents", "other rows and other embeddings"],
)
@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_rows_that_are_cut_are_an_error(name, kept, factor, said):
    family = FAMILIES[name]
    pipe = family.pipeline()

    def cut(pipe, step, timestep, tensors):
        pipe._guidance_scale = 1.0
        return {"prompt_embeds": tensors["prompt_embeds"][-kept:] * factor}

    call = family.call(pipe, UNEVEN)
    call |= {"callback_on_step_end": cut, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    with pytest.raises(RowsError, match=said), aid(pipe, CONFIG, describe(call, UNEVEN)):
        stock(pipe, call)


def test_the_unconditional_call_of_later_steps_stays_plain():
    """True CFG makes a call for the negative prompt: changed frames do not turn it into one of theirs."""
    family = FAMILIES["flux_true_cfg"]
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN)
    flags = []
    with aid(pipe, CONFIG, describe(call, UNEVEN)):
        after_ours = pipe.transformer.register_forward_pre_hook(
            lambda module, args: flags.append(module._aid_state.current is not None)
        )
        stock(pipe, call | changing(1 + 1e-6))
        after_ours.remove()
    assert flags == [True, False] * call["num_inference_steps"]


def test_a_change_in_place_is_seen():
    family = FAMILIES["sd1"]
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN)
    frames = interpolated(pipe, call, UNEVEN, CONFIG)

    def in_place(pipe, step, timestep, tensors):
        tensors["prompt_embeds"].mul_(1 + 1e-6)
        return {}

    call |= {"callback_on_step_end": in_place, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    assert distance(interpolated(pipe, call, UNEVEN, CONFIG), frames) < 1e-3

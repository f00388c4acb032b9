"""Attention interpolation on and off: applied again, call after call, failures half way, copies."""

import copy
import gc
import itertools
import weakref

import pytest
import torch

from aid_pipeline import AIDConfig, AIDError, aid, apply_aid
from aid_pipeline.attention.rebinding import is_rebound
from aid_pipeline.errors import BusyError
from tests.support import variations
from tests.support.families import FAMILIES
from tests.support.running import UNEVEN, describe, interpolated, processors, stock

SD1 = FAMILIES["sd1"]
FULL = AIDConfig(warmup=1.0, impl="sdpa")


def contents(denoiser):
    """Everything that could have been left behind: processors, their state, hooks, own attributes."""
    found = processors(denoiser)
    states = {name: dict(vars(processor)) for name, processor in found.items()}
    return found, states, dict(denoiser._forward_pre_hooks), dict(denoiser._forward_hooks), "forward" in vars(denoiser)


def test_everything_comes_back():
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    before = contents(pipe.unet)
    handle = apply_aid(pipe, FULL, describe(call, UNEVEN))
    assert all(is_rebound(processor) for processor in processors(pipe.unet).values())
    stock(pipe, call)
    handle.remove()
    assert contents(pipe.unet) == before
    handle.remove()
    assert contents(pipe.unet) == before


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize(("chunk", "when"), [(None, 2), (2, 2), (2, 4), (2, 7)])
def test_a_broken_off_call_can_be_made_again(chunk, when, error):
    """Ctrl-C passes by the hooks that run after a call; in chunks of 2 a denoiser call runs the layers four times."""
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    right = interpolated(pipe, call, UNEVEN, FULL, chunk=chunk)
    with aid(pipe, FULL, describe(call, UNEVEN, chunk=chunk)):
        broken = pipe.unet.up_blocks[1].attentions[0].register_forward_pre_hook(failing_at(when, error))
        with pytest.raises(error):
            stock(pipe, call)
        broken.remove()
        assert torch.equal(stock(pipe, call), right)


def failing_at(when, error):
    """A hook that raises when it is called for the `when`-th time."""
    calls = itertools.count(1)

    def hook(*_):
        if next(calls) == when:
            raise error

    return hook


def test_applying_again_replaces(untouched):
    pipe, call = untouched
    other = SD1.call(pipe, UNEVEN, steps=2, prompts=("zinc", "a fig"))
    first = apply_aid(pipe, FULL, describe(call, UNEVEN))
    second = apply_aid(pipe.unet, FULL, describe(other, UNEVEN))
    frames = stock(pipe, other)
    first.remove()  # already gone: must not take the second one's processors away
    assert torch.equal(stock(pipe, other), frames)
    second.remove()
    second.remove()
    assert torch.equal(interpolated(pipe, other, UNEVEN, FULL), frames)


def test_one_handle_for_call_after_call(untouched):
    """Steps start over with each call, also after one that was broken off."""
    pipe, call = untouched
    half = AIDConfig(warmup=0.5, impl="sdpa")
    expected = interpolated(pipe, call, UNEVEN, half)

    def stop(pipe, step, timestep, tensors):
        raise KeyboardInterrupt

    with aid(pipe, half, describe(call, UNEVEN)):
        assert torch.equal(stock(pipe, call), expected)
        with pytest.raises(KeyboardInterrupt):
            stock(pipe, call | {"callback_on_step_end": stop})
        assert torch.equal(stock(pipe, call), expected)
        assert torch.equal(stock(pipe, call | {"prompt_embeds": call["prompt_embeds"].clone()}), expected)


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
@pytest.mark.parametrize("chunk", [None, 2], ids=["batch", "chunks"])
@pytest.mark.parametrize("where", ["layer", "callback"])
def test_a_failure_half_way_restores_everything(untouched, where, chunk, error):
    pipe, call = untouched
    calls = []

    def fail(*_):
        calls.append(1)
        if len(calls) == 4:
            raise error

    def fail_at_step(pipe, step, timestep, tensors):
        raise error

    attention = [module for module in pipe.unet.modules() if hasattr(module, "processor")]
    hook = attention[-1].register_forward_pre_hook(fail) if where == "layer" else None
    if where == "callback":
        call = call | {"callback_on_step_end": fail_at_step}
    try:
        with pytest.raises(type(error)):
            interpolated(pipe, call | {"num_inference_steps": 5}, UNEVEN, FULL, chunk=chunk)
    finally:
        if hook is not None:
            hook.remove()


def test_a_sequence_inside_another_of_the_same_pipeline():
    """A callback that makes a sequence with the same denoiser would leave the outer one without interpolation."""
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=3)

    def again(pipe, step, timestep, tensors):
        interpolated(pipe, call, UNEVEN, FULL)
        return tensors

    with pytest.raises(BusyError):
        interpolated(pipe, call | {"callback_on_step_end": again}, UNEVEN, FULL)
    assert not pipe.unet._forward_pre_hooks


def test_nothing_of_a_sequence_is_kept():
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    frames = describe(call, UNEVEN, prompt_embeds=call["prompt_embeds"].clone(), chunk=2)
    alive = weakref.ref(frames.prompt_embeds)
    with aid(pipe, FULL, frames) as handle:
        stock(pipe, call)
    del frames, handle
    gc.collect()
    assert alive() is None


def test_weights_and_names_are_the_same_while_on(untouched):
    """Saving or hashing the model in between must not notice."""
    pipe, call = untouched
    pipe = variations.with_ip_adapter(copy.deepcopy(pipe))
    names = list(pipe.unet.state_dict())
    with aid(pipe, FULL, describe(call, UNEVEN)):
        assert list(pipe.unet.state_dict()) == names


def test_copies(untouched):
    """A pipeline that has been used is copied like any other; while it is being used a copy would be half of one."""
    pipe, call = untouched
    plain, frames = stock(pipe, call), interpolated(pipe, call, UNEVEN, FULL)
    copied = copy.deepcopy(pipe)
    assert torch.equal(stock(copied, call), plain)
    assert torch.equal(interpolated(copied, call, UNEVEN, FULL), frames)
    with aid(pipe, FULL, describe(call, UNEVEN)), pytest.raises(AIDError, match="remove"):
        copy.deepcopy(pipe)

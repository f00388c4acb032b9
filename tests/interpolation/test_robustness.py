"""What goes wrong around a sequence: wrong input, pipelines that cannot be served, failures half way."""

import copy
import gc
import weakref

import diffusers
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0, SlicedAttnProcessor

from aid_kernels import InterpolationPlan
from aid_pipeline import AIDConfig, AIDError, aid, apply_aid, interpolate
from aid_pipeline.errors import BusyError, ConfigError, RowsError, UnsupportedAttentionError, UnsupportedPipelineError
from tests.support import variations
from tests.support.families import FAMILIES, NEGATIVE, PIXELS, PROMPTS
from tests.support.oracle import Settings, oracle_frames
from tests.support.running import TOLERANCE, UNEVEN, describe, distance, interpolated, processors, stock

SD1 = FAMILIES["sd1"]
FULL = AIDConfig(warmup=1.0, impl="sdpa")
M = len(UNEVEN)


@pytest.fixture
def untouched():
    """A pipeline whose denoiser must be, after the test, what it was before."""
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    before, installed = stock(pipe, call), processors(pipe.unet)
    yield pipe, call
    after = processors(pipe.unet)
    assert all(installed[name] is after[name] for name in installed)
    assert not pipe.unet._forward_pre_hooks
    assert not pipe.unet._forward_hooks
    assert torch.equal(stock(pipe, call), before)


# ---------------------------------------------------------------- input


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "middle"},
        {"mode": None},
        {"warmup": 1.01},
        {"warmup": -0.1},
        {"warmup": float("nan")},
        {"warmup": "0.5"},
        {"warmup": True},
        {"fuse_self": 1},
        {"impl": "cuda"},
    ],
    ids=str,
)
def test_a_wrong_config_names_the_value(fields):
    (value,) = fields.values()
    with pytest.raises(ConfigError, match=str(value) if isinstance(value, float) else repr(value)):
        AIDConfig(**fields)


def test_values_of_a_wrong_kind():
    for wrong in ({"config": "outer"}, {"config": {"mode": "outer"}}, {"guide": 3}, {"negative_prompt": 3}):
        with pytest.raises(AIDError, match=r"must be"):
            interpolate(SD1.pipeline(), *PROMPTS, height=PIXELS, width=PIXELS, **wrong)


def test_wrong_frames_are_refused_when_made():
    embeds = torch.randn(M, 5, 8)
    plan = InterpolationPlan.sequence(UNEVEN)
    from aid_pipeline import Frames

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


@pytest.mark.parametrize("name", ["sd1", "flux_true_cfg"])
def test_an_end_that_is_the_negative_prompt(name):
    """Only one frame's rows look alike: the sequence as a whole can still be found."""
    family = FAMILIES[name]
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN, steps=2, prompts=(NEGATIVE, PROMPTS[1]))
    frames = interpolated(pipe, call, UNEVEN, FULL)
    expected = oracle_frames(pipe, call, UNEVEN, Settings(warmup=1.0), family.negative_rows)
    assert distance(frames, expected) < TOLERANCE


def test_equal_prompts_with_other_noise():
    pipe = SD1.pipeline()
    call = SD1.call(pipe, UNEVEN, steps=2, prompts=(PROMPTS[0], PROMPTS[0]))
    for mode in ("outer", "inner"):
        frames = interpolated(pipe, call, UNEVEN, AIDConfig(mode=mode, warmup=1.0, impl="sdpa"))
        expected = oracle_frames(pipe, call, UNEVEN, Settings(mode=mode, warmup=1.0), "front")
        assert distance(frames, expected) < TOLERANCE


@pytest.mark.parametrize("mode", ["outer", "inner"])
@pytest.mark.parametrize("name", ["sd1", "pixart_sigma"])
def test_interior_frames_at_the_very_ends(name, mode):
    """t = 0 and t = 1 between the endpoints, too; a frame there still attends to that endpoint."""
    family, coefficients = FAMILIES[name], (0.0, 0.0, 0.4, 1.0, 1.0)
    pipe = family.pipeline()
    call = family.call(pipe, coefficients, steps=2)
    call["latents"] = torch.randn(call["latents"].shape, generator=torch.Generator().manual_seed(8))
    frames = interpolated(pipe, call, coefficients, AIDConfig(mode=mode, warmup=1.0, impl="sdpa"))
    expected = oracle_frames(pipe, call, coefficients, Settings(mode=mode, warmup=1.0), family.negative_rows)
    keep = [0, 2, 4] if name == "pixart_sigma" and mode == "inner" else list(range(5))  # a far end's mask is no matter
    assert distance(frames[keep], expected[keep]) < TOLERANCE


def test_embeddings_of_ones_own_are_not_taken_for_a_lerp():
    """Inner mode leaves cross-attention plain only where that is the same: nobody said that these are a lerp."""
    pipe = SD1.pipeline()
    call = SD1.call(pipe, UNEVEN, steps=2)
    call["prompt_embeds"] = call["prompt_embeds"].clone()
    call["prompt_embeds"][1, 3:] += 0.5
    frames = interpolated(pipe, call, UNEVEN, AIDConfig(mode="inner", warmup=1.0, impl="sdpa"), guided=False)
    expected = oracle_frames(pipe, call, UNEVEN, Settings(mode="inner", warmup=1.0), "front")
    assert distance(frames, expected) < TOLERANCE


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


# ---------------------------------------------------------------- pipelines that cannot be served


@pytest.mark.parametrize("processor", [AttnProcessor(), SlicedAttnProcessor(1)], ids=lambda p: type(p).__name__)
def test_processors_without_the_primitive_are_named_and_nothing_is_touched(processor):
    pipe = SD1.fresh()
    pipe.unet.set_attn_processor(processor)
    call = SD1.call(pipe, UNEVEN)
    with pytest.raises(UnsupportedPipelineError, match=type(processor).__name__):
        apply_aid(pipe, FULL, describe(call, UNEVEN))
    assert all(installed is processor for installed in processors(pipe.unet).values())
    assert not pipe.unet._forward_pre_hooks
    pipe.unet.set_attn_processor(AttnProcessor2_0())
    interpolated(pipe, call, UNEVEN, FULL)  # the refusal left nothing behind that stands in the way


def test_pipelines_without_a_denoiser_or_attention():
    call = SD1.call(SD1.pipeline(), UNEVEN)
    frames = describe(call, UNEVEN)
    plain = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
        add_attention=False,
    )
    for nothing in (object(), None, "a model", torch.nn.Linear(2, 2), plain):
        with pytest.raises(UnsupportedPipelineError):
            apply_aid(nothing, FULL, frames)


def test_pag_pipelines_are_refused():
    pipe = diffusers.StableDiffusionPAGPipeline(**SD1.pipeline().components, requires_safety_checker=False)
    call = SD1.call(pipe, UNEVEN)
    with pytest.raises(UnsupportedPipelineError, match="PAG"):
        apply_aid(pipe, FULL, describe(call, UNEVEN))
    with pytest.raises(UnsupportedPipelineError, match="PAG"):
        interpolate(pipe, *PROMPTS, num_inference_steps=2, height=PIXELS, width=PIXELS)


def test_masks_that_are_no_masks_of_keys():
    family = FAMILIES["pixart_sigma"]
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN, steps=2)
    call["prompt_attention_mask"] = call["prompt_attention_mask"] * 0.5
    with pytest.raises(UnsupportedAttentionError):
        interpolated(pipe, call, UNEVEN, FULL)
    assert not pipe.transformer._forward_pre_hooks


# ---------------------------------------------------------------- on and off


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


def test_processors_replaced_under_way_are_noticed():
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    with aid(pipe, FULL, describe(call, UNEVEN)):
        pipe.unet.set_attn_processor(AttnProcessor2_0())
        with pytest.raises(UnsupportedPipelineError, match="replaced"):
            stock(pipe, call)
    assert all(type(processor) is AttnProcessor2_0 for processor in processors(pipe.unet).values())


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

"""Denoisers, processors and masks that cannot be interpolated, by name."""

import diffusers
import pytest
import torch
from diffusers.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    SanaLinearAttnProcessor2_0,
    SlicedAttnProcessor,
    XFormersAttnProcessor,
)

from aid_pipeline import AIDConfig, aid, apply_aid
from aid_pipeline.errors import UnsupportedAttentionError, UnsupportedPipelineError
from tests.support import stock_pipelines
from tests.support.families import FAMILIES
from tests.support.running import UNEVEN, describe, distance, interpolated, processors, stock

SD1 = FAMILIES["sd1"]
FULL = AIDConfig(warmup=1.0, impl="sdpa")


@pytest.mark.parametrize(
    "processor",
    [AttnProcessor(), SlicedAttnProcessor(1), XFormersAttnProcessor()],
    ids=lambda p: type(p).__name__,
)
def test_processors_without_the_primitive_are_named_and_nothing_is_touched(processor):
    """One in the last layer is enough."""
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    before = processors(pipe.unet)
    layer = [module for module in pipe.unet.modules() if hasattr(module, "processor")][-1]
    layer.set_processor(processor)
    with pytest.raises(UnsupportedPipelineError, match=type(processor).__name__):
        apply_aid(pipe, FULL, describe(call, UNEVEN))
    after = processors(pipe.unet)
    assert [name for name in before if after[name] is not before[name]] == [list(before)[-1]]
    assert not pipe.unet._forward_pre_hooks
    layer.set_processor(AttnProcessor2_0())
    interpolated(pipe, call, UNEVEN, FULL)  # the refusal left nothing behind that stands in the way


class LinearAttention:
    """Attention without a softmax, as Sana's, for the layers of a UNet."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = attn.to_q(hidden_states).relu(), attn.to_k(text).relu(), attn.to_v(text)
        mixed = query @ (key.transpose(-1, -2) @ value) / (query @ key.sum(1, keepdim=True).transpose(-1, -2) + 1)
        return attn.to_out[0](mixed)


def test_layers_without_a_softmax_stay_plain_and_are_named():
    """One linear layer among others, in chunks too; the last layer of the report says why."""
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    name, layer = [pair for pair in pipe.unet.named_modules() if hasattr(pair[1], "processor")][-1]
    linear = LinearAttention()
    layer.set_processor(linear)
    with aid(pipe, FULL, describe(call, UNEVEN)) as handle:
        made = stock(pipe, call)
    report = handle.report()
    assert f"{name}: plain" in report
    assert "no softmax" in report
    assert layer.processor is linear
    assert distance(made, stock(pipe, call)) > 1e-3
    assert distance(interpolated(pipe, call, UNEVEN, FULL, chunk=3), made) < 1e-4


def test_attention_of_another_library_is_no_linear_attention():
    """It has a softmax that cannot be seen: left plain, its layer would be plain without a reason."""

    class Sage:
        def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
            return sageattn(attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states))  # noqa: F821

    pipe = SD1.fresh()
    layer = [module for module in pipe.unet.modules() if hasattr(module, "processor")][-1]
    layer.set_processor(Sage())
    with pytest.raises(UnsupportedPipelineError, match="Sage"):
        apply_aid(pipe, FULL, describe(SD1.call(pipe, UNEVEN, steps=2), UNEVEN))


def test_a_denoiser_of_linear_attention_alone():
    pipe = SD1.fresh()
    for module in pipe.unet.modules():
        if hasattr(module, "processor"):
            module.set_processor(SanaLinearAttnProcessor2_0())
    with pytest.raises(UnsupportedPipelineError, match="softmax"):
        apply_aid(pipe, FULL, describe(SD1.call(pipe, UNEVEN, steps=2), UNEVEN))


def test_denoisers_without_attention_that_can_be_interpolated():
    frames = describe(SD1.call(SD1.pipeline(), UNEVEN), UNEVEN)
    plain = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
        add_attention=False,
    )
    for nothing in (torch.nn.Linear(2, 2), plain):
        with pytest.raises(UnsupportedPipelineError, match="no attention layers"):
            apply_aid(nothing, FULL, frames)
    with pytest.raises(UnsupportedPipelineError, match="heads of 272 channels"):
        apply_aid(stock_pipelines.unet(block_out_channels=(272, 272), attention_head_dim=1), FULL, frames)


def test_masks_of_two_dimensions_with_other_values():
    family = FAMILIES["pixart_sigma"]
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN, steps=2)
    call["prompt_attention_mask"] = call["prompt_attention_mask"] * 0.5
    with pytest.raises(UnsupportedAttentionError):
        interpolated(pipe, call, UNEVEN, FULL)
    assert not pipe.transformer._forward_pre_hooks


def test_processors_replaced_under_way_are_noticed():
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    with aid(pipe, FULL, describe(call, UNEVEN)):
        pipe.unet.set_attn_processor(AttnProcessor2_0())
        with pytest.raises(UnsupportedPipelineError, match="replaced"):
            stock(pipe, call)
    assert all(type(processor) is AttnProcessor2_0 for processor in processors(pipe.unet).values())

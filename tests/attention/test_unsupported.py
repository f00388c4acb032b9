"""Pipelines, processors and masks that cannot be interpolated, by name."""

import diffusers
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0, SlicedAttnProcessor

from aid_pipeline import AIDConfig, aid, apply_aid
from aid_pipeline.errors import UnsupportedAttentionError, UnsupportedPipelineError
from tests.support.families import FAMILIES
from tests.support.running import UNEVEN, describe, interpolated, processors, stock

SD1 = FAMILIES["sd1"]
FULL = AIDConfig(warmup=1.0, impl="sdpa")


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


def test_masks_that_are_no_masks_of_keys():
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

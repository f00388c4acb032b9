"""Advice of a refusal: what it says to do ends in a sequence."""

import pytest
from diffusers.models import attention_processor

from aid_pipeline import interpolate
from aid_pipeline.attention.processors import InterpolatedAttnProcessor
from aid_pipeline.errors import UnsupportedPipelineError
from tests.support.families import FAMILIES, PROMPTS
from tests.support.interpolation import arguments

CALL = arguments(FAMILIES["sd1"], frames=3)


def explicit_softmax(pipe):
    pipe.unet.set_default_attn_processor()


def sliced(pipe):
    pipe.enable_attention_slicing(1)


@pytest.mark.parametrize("change", [explicit_softmax, sliced])
def test_a_processor_without_a_primitive(change):
    pipe = FAMILIES["sd1"].fresh()
    change(pipe)
    with pytest.raises(UnsupportedPipelineError) as raised:
        interpolate(pipe, *PROMPTS, **CALL)
    assert "denoiser.set_attn_processor(AttnProcessor2_0())" in str(raised.value)
    pipe.unet.set_attn_processor(attention_processor.AttnProcessor2_0())
    assert len(interpolate(pipe, *PROMPTS, **CALL).images) == 3


def test_a_processor_set_by_hand():
    from aid_kernels import InterpolationPlan
    from aid_pipeline import AIDConfig

    pipe = FAMILIES["sd1"].fresh()
    by_hand = InterpolatedAttnProcessor(InterpolationPlan.sequence([0.0, 0.5, 1.0]), AIDConfig())
    for layer in pipe.unet.modules():
        if isinstance(layer, attention_processor.Attention):
            layer.set_processor(by_hand)
    with pytest.raises(UnsupportedPipelineError, match="AttnProcessor2_0"):
        interpolate(pipe, *PROMPTS, **CALL)
    for layer in pipe.unet.modules():
        if isinstance(layer, attention_processor.Attention):
            layer.set_processor(attention_processor.AttnProcessor2_0())
    assert len(interpolate(pipe, *PROMPTS, **CALL).images) == 3

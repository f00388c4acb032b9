"""What is known of families of pipelines, and which denoiser a pipeline has."""

import types

import diffusers
import pytest
from torch import nn

from aid_pipeline.errors import UnsupportedPipelineError
from aid_pipeline.families import (
    check_encoder,
    find_denoiser,
    has_separate_cross_attention,
    image_slot,
    rows_per_frame,
    size_divisor,
)
from tests.support.families import FAMILIES

pipelines = pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl", "sd3", "flux", "pixart_sigma"])


@pipelines
def test_the_denoiser_of_a_pipeline(name):
    pipe = FAMILIES[name].pipeline()
    assert find_denoiser(pipe) is FAMILIES[name].denoiser(pipe)
    assert has_separate_cross_attention(find_denoiser(pipe)) == name.startswith(("sd1", "sd2", "sdxl"))


@pytest.mark.parametrize(
    ("name", "guidance_scale", "rows"),
    [("sd1", 5.0, 2), ("sd1", 1.0, 1), ("sdxl", 5.0, 2), ("flux", 5.0, 1), ("pixart_sigma", 5.0, 2)],
)
def test_rows_of_a_frame_in_a_denoiser_call(name, guidance_scale, rows):
    pipe = FAMILIES[name].pipeline()
    before = vars(pipe).get("_guidance_scale")
    assert rows_per_frame(pipe, guidance_scale) == rows
    assert vars(pipe).get("_guidance_scale") == before


class Compiled(nn.Module):
    """Wraps a module as `torch.compile` does, without the seconds that its import takes."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module


def test_a_compiled_denoiser_is_looked_through():
    denoiser = nn.Linear(2, 2)
    assert find_denoiser(Compiled(denoiser)) is denoiser
    assert find_denoiser(types.SimpleNamespace(unet=None, transformer=Compiled(denoiser))) is denoiser


@pytest.mark.parametrize("nothing", [object(), None, "a model"], ids=lambda nothing: type(nothing).__name__)
def test_no_denoiser(nothing):
    with pytest.raises(UnsupportedPipelineError, match="neither a unet nor a transformer"):
        find_denoiser(nothing)


def test_two_denoisers():
    with pytest.raises(UnsupportedPipelineError, match="two denoisers"):
        find_denoiser(types.SimpleNamespace(transformer=nn.Linear(2, 2), transformer_2=nn.Linear(2, 2)))


def test_pag_pipelines():
    pipe = diffusers.StableDiffusionPAGPipeline(**FAMILIES["sd1"].pipeline().components, requires_safety_checker=False)
    with pytest.raises(UnsupportedPipelineError, match="PAG"):
        find_denoiser(pipe)


def test_a_pipeline_without_an_encoder():
    class Strange:
        transformer = nn.Linear(2, 2)

        def __call__(self, prompt):
            return prompt

    with pytest.raises(UnsupportedPipelineError, match="Strange has no encode_prompt"):
        check_encoder(Strange())
    Strange.encode_prompt = lambda self, prompt: prompt
    check_encoder(Strange())


@pytest.mark.parametrize(
    ("name", "argument", "takes_list"),
    [
        ("sd1", "added_cond_kwargs", True),
        ("sd3", "joint_attention_kwargs", False),
        ("flux", "joint_attention_kwargs", True),
    ],
)
def test_where_image_embeddings_go(name, argument, takes_list):
    slot = image_slot(find_denoiser(FAMILIES[name].pipeline()))
    assert (slot.argument, slot.takes_list) == (argument, takes_list)


@pytest.mark.parametrize(("name", "divisor"), [("sd1", 8), ("sd3", 8), ("flux", 8), ("pixart_sigma", 8)])
def test_sides_of_an_image(name, divisor):
    """The tiny VAEs halve an image, and patches have 2x2 latents at most."""
    assert size_divisor(FAMILIES[name].pipeline()) == divisor

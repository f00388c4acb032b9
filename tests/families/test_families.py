"""What is known of families of pipelines, and which denoiser a pipeline has."""

import types

import diffusers
import pytest
import torch
from torch import nn

from aid_pipeline.errors import UnsupportedPipelineError
from aid_pipeline.families import (
    find_denoiser,
    find_family,
    has_separate_cross_attention,
    image_slot,
    pack_latents,
    size_divisor,
    unpacked_shape,
)
from tests.support.families import FAMILIES, PIXELS

KNOWN = {
    "sd1": "Stable Diffusion 1.x, 2.x",
    "sd2": "Stable Diffusion 1.x, 2.x",
    "sdxl": "SDXL",
    "sd3": "Stable Diffusion 3.x",
    "flux": "FLUX.1",
    "pixart_sigma": "PixArt",
}
pipelines = pytest.mark.parametrize("name", KNOWN)


@pipelines
def test_the_family_of_a_pipeline(name):
    pipe = FAMILIES[name].pipeline()
    assert find_family(pipe).name == KNOWN[name]
    assert find_denoiser(pipe) is FAMILIES[name].denoiser(pipe)
    assert has_separate_cross_attention(find_denoiser(pipe)) == name.startswith(("sd1", "sd2", "sdxl"))


def test_image_to_image_is_of_the_same_family():
    pipe = FAMILIES["sdxl"].pipeline()
    assert find_family(diffusers.StableDiffusionXLImg2ImgPipeline(**pipe.components)).name == "SDXL"


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


def test_an_unknown_family():
    class Strange:
        transformer = nn.Linear(2, 2)

        def __call__(self, prompt):
            return prompt

    with pytest.raises(UnsupportedPipelineError, match="Strange has no encode_prompt"):
        find_family(Strange())
    Strange.encode_prompt = lambda self, prompt: prompt
    assert not find_family(Strange()).is_known


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


@pipelines
def test_latents_are_packed_as_the_pipeline_packs_them(name):
    pipe = FAMILIES[name].pipeline()
    latents = torch.randn(2, 4, PIXELS // 2, PIXELS // 2)
    packed = pack_latents(pipe, latents)
    assert unpacked_shape(pipe, packed, PIXELS, PIXELS) == latents.shape[1:]
    assert packed.shape == ((2, 16, 16) if name == "flux" else latents.shape)

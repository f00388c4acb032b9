"""Bad input that only a pipeline can tell: a typed error that names the value, before the denoiser runs."""

import diffusers
import pytest
import torch

from aid_pipeline import errors as e
from aid_pipeline import interpolate

from ..support.families import FAMILIES
from ..support.stock_pipelines import clip_tokenizer, image_vae

SIZE = {"height": 16, "width": 16}


@pytest.fixture
def pipe():
    """A pipeline whose denoiser must not be called."""

    def called(module, inputs):
        raise AssertionError("the denoiser ran")

    pipe = FAMILIES["sd1"].pipeline()
    handle = pipe.unet.register_forward_pre_hook(called)
    yield pipe
    handle.remove()


@pytest.mark.parametrize(
    ("error", "said", "wrong"),
    [
        (e.PromptError, "counts 42 tokens of 32 and would cut 'aaaaaaaaaa'", {"prompt_b": "a" * 40}),
        (e.PromptError, "would cut", {"negative_prompt": "a" * 40}),
        (e.PromptError, "would cut", {"guide": "a" * 40}),
        (e.PromptError, "same embedding", {"negative_prompt": "a"}),
        (e.PromptError, "same embedding", {"negative_prompt": ("x", "b")}),
        (e.LatentsError, r"\(2, 4, 8, 8\) or \(7, 4, 8, 8\)", {"latents": torch.zeros(2, 4, 8, 9)}),
        (e.LatentsError, "opposite", {"latents": torch.ones(2, 4, 8, 8) * torch.tensor([1, -1]).view(2, 1, 1, 1)}),
        (e.ArgumentError, "eta.* 'x'", {"eta": "x"}),
        (e.ArgumentError, "clip_skip=50", {"clip_skip": 50}),
        (e.ArgumentError, "StableDiffusionPipeline refuses the call", {"num_inference_steps": 2000}),
        (e.ArgumentError, "guidance_scale=1", {"negative_prompt": "x", "guidance_scale": 1}),
        (e.ArgumentError, "did you mean guidance_rescale", {"guidance_recale": 0.5}),
        (e.ArgumentError, "did you mean negative_prompt", {"negativ_prompt": "x"}),
        (e.ArgumentError, "prompt_2", {"prompt_2": "x"}),
    ],
    ids=lambda value: str(value).split(" object at ")[0][:60] if isinstance(value, dict) else "",
)
def test_each_is_named_before_any_denoising(pipe, error, said, wrong):
    arguments = {"prompt_a": "a", "prompt_b": "b", **SIZE, **wrong}
    with pytest.raises(error, match=said):
        interpolate(pipe, **arguments)


def test_one_image_per_prompt_may_be_said(pipe):
    with pytest.raises(AssertionError, match="the denoiser ran"):
        interpolate(pipe, "a", "b", num_images_per_prompt=1, **SIZE)


@pytest.mark.parametrize("name", ["flux", "flux_true_cfg"])
def test_flux_says_how_a_negative_prompt_is_read(name):
    pipe = FAMILIES[name].pipeline()
    with pytest.raises(e.ArgumentError, match="raise true_cfg_scale over 1"):
        interpolate(pipe, "a", "b", negative_prompt="x", max_sequence_length=24, **SIZE)
    with pytest.raises(e.ArgumentError, match="needs a negative_prompt"):
        interpolate(pipe, "a", "b", true_cfg_scale=2.0, max_sequence_length=24, **SIZE)


def test_a_long_prompt_passes_if_one_encoder_reads_all_of_it(caplog):
    pipe = FAMILIES["sd3"].pipeline()
    long = "a" * 40  # 42 tokens; CLIP reads 32, T5 as many as it is told
    settings = {"frames": 2, "num_inference_steps": 1, **SIZE}
    interpolate(pipe, long, "b", max_sequence_length=50, **settings)
    assert "would cut 'aaaaaaaaaa'" in caplog.text
    with pytest.raises(e.PromptError, match="too long"):
        interpolate(pipe, long, "b", max_sequence_length=24, **settings)


def test_a_pipeline_of_another_kind_is_refused():
    unet = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    with pytest.raises(e.UnsupportedPipelineError, match="DDPMPipeline has no encode_prompt"):
        interpolate(diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()), "a", "b")
    with pytest.raises(e.UnsupportedPipelineError):
        interpolate(image_vae(), "a", "b")
    with pytest.raises(e.UnsupportedPipelineError):
        interpolate(clip_tokenizer(), "a", "b")

"""Bad input to `interpolate`: a typed error that names the value, before the denoiser runs."""

import diffusers
import pytest
import torch
from diffusers.models.attention_processor import Attention

from aid_pipeline import AIDConfig, interpolate
from aid_pipeline import errors as e

from ..support.families import FAMILIES
from ..support.stock_pipelines import clip_tokenizer, image_vae

NAN = float("nan")
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
        (e.PromptError, "prompt_a is empty", {"prompt_a": " "}),
        (e.PromptError, "prompt_b must be a text, got 3", {"prompt_b": 3}),
        (e.PromptError, "counts 42 tokens of 32 and would cut 'aaaaaaaaaa'", {"prompt_b": "a" * 40}),
        (e.PromptError, "would cut", {"negative_prompt": "a" * 40}),
        (e.PromptError, "would cut", {"guide": "a" * 40}),
        (e.PromptError, "same embedding", {"negative_prompt": "a"}),
        (e.PromptError, "same embedding", {"negative_prompt": ("x", "b")}),
        (e.PromptError, "one for each of the 5 interior frames; got 2", {"guide": ["x", "y"]}),
        (e.PromptError, "with frames=2 there are none", {"guide": "x", "frames": 2}),
        (e.PromptError, "guide 2 is empty", {"guide": ["x", "", "x", "x", "x"]}),
        (e.PromptError, "one for each end", {"negative_prompt": ["x", "y", "z"]}),
        (e.CoefficientsError, "frames must be", {"frames": 1}),
        (e.CoefficientsError, "number 1 is nan", {"frames": 3, "coefficients": [0, NAN, 1]}),
        (e.CoefficientsError, "never decrease", {"frames": 4, "coefficients": [0, 0.6, 0.5, 1]}),
        (e.CoefficientsError, "frames=3", {"coefficients": [0, 0.5, 1]}),
        (e.LatentsError, r"must have shape \(2, 4, 8, 8\) or \(7, 4, 8, 8\)", {"latents": torch.zeros(2, 4, 8, 9)}),
        (e.LatentsError, r"got \(3, 4, 8, 8\)", {"latents": torch.zeros(3, 4, 8, 8)}),
        (e.LatentsError, "NaN", {"latents": torch.full((2, 4, 8, 8), NAN)}),
        (e.LatentsError, "opposite", {"latents": torch.ones(2, 4, 8, 8) * torch.tensor([1, -1]).view(2, 1, 1, 1)}),
        (e.LatentsError, "torch.int64", {"latents": torch.zeros(2, 4, 8, 8, dtype=torch.int64)}),
        (e.LatentsError, "seed must be", {"seed": -1}),
        (e.LatentsError, "seed must be", {"seed": (1, 2, 3)}),
        (e.LatentsError, "seed must be", {"seed": 0.5}),
        (e.ArgumentError, "height must be a multiple of 8 pixels, got 20; try 16", {"height": 20}),
        (e.ArgumentError, "width must be", {"width": -8}),
        (e.ArgumentError, "height must be a multiple of 8 pixels, got nan", {"height": NAN}),
        (e.ArgumentError, "guidance_rescale must be a finite number, got nan", {"guidance_rescale": NAN}),
        (e.ArgumentError, "eta must be a finite number, got 'x'", {"eta": "x"}),
        (e.ArgumentError, "cannot encode the prompt .*clip_skip=50", {"clip_skip": 50}),
        (e.ArgumentError, "StableDiffusionPipeline refuses the call", {"num_inference_steps": 2000}),
        (
            e.CoefficientsError,
            r"0 to 1, got tensor\(\[\[0., 1.\], \[0., 1.\]\]\)$",
            {"coefficients": torch.eye(2) * 0 + torch.tensor([0.0, 1.0])},
        ),
        (e.ArgumentError, "num_inference_steps", {"num_inference_steps": 0}),
        (e.ArgumentError, "guidance_scale", {"guidance_scale": NAN}),
        (e.ArgumentError, "output_type", {"output_type": "jpeg"}),
        (e.ArgumentError, "chunk", {"chunk": 0}),
        (e.ArgumentError, "chunk", {"chunk": "all"}),
        (
            e.ArgumentError,
            r"would not be read \(guidance_scale=1\)",
            {"negative_prompt": "x", "guidance_scale": 1},
        ),
        (e.ArgumentError, "did you mean guidance_rescale", {"guidance_recale": 0.5}),
        (e.ArgumentError, "did you mean negative_prompt", {"negativ_prompt": "x"}),
        (e.ArgumentError, "use seed", {"generator": torch.Generator()}),
        (e.ArgumentError, "another seed", {"num_images_per_prompt": 2}),
        (e.ArgumentError, "takes no argument prompt_2", {"prompt_2": "x"}),
    ],
    ids=lambda value: str(value).split(" object at ")[0][:60] if isinstance(value, dict) else "",
)
def test_each_is_named_before_any_denoising(pipe, error, said, wrong):
    arguments = {"prompt_a": "a", "prompt_b": "b", **SIZE, **wrong}
    with pytest.raises(error, match=said):
        interpolate(pipe, **arguments)


@pytest.mark.parametrize("config", [{"mode": "both"}, {"warmup": 1.5}, {"impl": "cuda"}, {"fuse_self": 1}], ids=str)
def test_configs(config):
    with pytest.raises(e.ConfigError):
        AIDConfig(**config)


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


def test_perturbed_attention_is_refused():
    parts = FAMILIES["sd1"].fresh().components
    pipe = diffusers.StableDiffusionPAGPipeline(**parts, pag_applied_layers=["mid"], requires_safety_checker=False)
    with pytest.raises(e.UnsupportedPipelineError, match="PAG"):
        interpolate(pipe, "a", "b", **SIZE)


def test_a_denoiser_without_attention_is_refused():
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        mid_block_type=None,
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        cross_attention_dim=32,
    )
    assert not any(isinstance(module, Attention) for module in unet.modules())
    pipe = diffusers.StableDiffusionPipeline(
        **FAMILIES["sd1"].fresh().components | {"unet": unet}, requires_safety_checker=False
    )
    with pytest.raises(e.UnsupportedPipelineError):
        interpolate(pipe, "a", "b", **SIZE)


def test_a_pipeline_of_another_kind_is_refused():
    unet = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    with pytest.raises(e.UnsupportedPipelineError, match="does not know how DDPMPipeline"):
        interpolate(diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()), "a", "b")
    with pytest.raises(e.UnsupportedPipelineError):
        interpolate(image_vae(), "a", "b")
    with pytest.raises(e.UnsupportedPipelineError):
        interpolate(clip_tokenizer(), "a", "b")

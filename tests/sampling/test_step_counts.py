"""How many steps a stock call will show the denoiser, said before its loop, beside what the denoiser then sees."""

import itertools

import diffusers
import pytest
import torch

from aid_pipeline import AIDConfig, interpolate
from aid_pipeline.sampling.scheduler_steps import denoiser_steps

from ..support.families import FAMILIES, PIXELS, PROMPTS


@pytest.fixture
def stated(monkeypatch) -> list[int]:
    """What `denoiser_steps` said of every stock call."""
    said: list[int] = []

    def recorded(pipe, steps):
        said.append(denoiser_steps(pipe, steps))
        return said[-1]

    monkeypatch.setattr("aid_pipeline.sampling.denoising.denoiser_steps", recorded)
    return said


def seen_steps(pipe, **wanted) -> int:
    """Changes of timestep that the denoiser sees in one sequence."""
    seen: list[float] = []
    pipe.unet.register_forward_pre_hook(lambda _, given: seen.append(float(given[1])))
    call = {"frames": 3, "num_inference_steps": 10, "guidance_scale": 2.0, "output_type": "latent"}
    assert interpolate(pipe, *PROMPTS, config=AIDConfig(warmup=1.0), **call, **wanted).images.isfinite().all()
    return 1 + sum(before != after for before, after in itertools.pairwise(seen))


@pytest.mark.parametrize("strength", [0.3, 0.8, 1.0])
@pytest.mark.parametrize(
    ("scheduler", "options"),
    [
        (diffusers.PNDMScheduler, {"skip_prk_steps": True}),  # the one that Stable Diffusion 1.x comes with
        (diffusers.PNDMScheduler, {}),
        (diffusers.HeunDiscreteScheduler, {}),
        (diffusers.KDPM2DiscreteScheduler, {}),
        (diffusers.DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    ],
    ids=["pndm", "pndm-prk", "heun", "kdpm2", "dpm-karras"],
)
def test_image_to_image_leaves_out_the_first_steps(scheduler, options, strength, stated):
    parts = FAMILIES["sd1"].fresh().components
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **options)
    image = torch.rand(1, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))
    assert [seen_steps(pipe, image=image, strength=strength)] == stated


@pytest.mark.parametrize(("scheduler", "end"), [("Euler", 0.8), ("Heun", 0.8), ("Heun", 0.75)])
def test_a_call_that_ends_early_leaves_out_the_last_steps(scheduler, end, stated):
    pipe = FAMILIES["sdxl"].fresh()
    pipe.scheduler = getattr(diffusers, f"{scheduler}DiscreteScheduler").from_config(pipe.scheduler.config)
    assert [seen_steps(pipe, height=PIXELS, width=PIXELS, denoising_end=end)] == stated

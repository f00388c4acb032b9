"""Noise of schedulers that no generator of the stock call reaches: equal for all frames, equal for equal calls."""

import diffusers
import pytest
import torch

from aid_pipeline import AIDConfig, interpolate
from aid_pipeline.errors import UnsupportedPipelineError
from tests.support.families import FAMILIES, PROMPTS
from tests.support.interpolation import arguments

PLAIN = AIDConfig(mode="none")


def stochastic(name):
    pipe = FAMILIES[name].fresh()
    pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(
        pipe.scheduler.config, stochastic_sampling=True
    )
    return pipe


def latents(pipe, family, *prompts, **more):
    call = arguments(family, frames=3, output_type="latent", **more)
    return interpolate(pipe, *prompts, config=PLAIN, **call).images


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_equal_calls_give_equal_bits(name):
    pipe = stochastic(name)
    made = [latents(pipe, FAMILIES[name], *PROMPTS, seed=seed) for seed in (3, 3, 4)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_frames_of_one_prompt_are_one_image(name):
    frames = latents(stochastic(name), FAMILIES[name], PROMPTS[0], PROMPTS[0])
    assert float((frames - frames[:1]).abs().max()) < 1e-4 * float(frames.abs().max())


def test_the_first_frame_is_the_stock_call_after_manual_seed():
    family = FAMILIES["sd3"]
    pipe = stochastic("sd3")
    frames = latents(pipe, family, *PROMPTS, seed=7)
    call = {name: value for name, value in arguments(family).items() if name != "output_type"}
    torch.manual_seed(7)
    alone = pipe(PROMPTS[0], generator=torch.Generator().manual_seed(7), output_type="latent", **call).images
    assert float((frames[0] - alone[0]).abs().max()) < 1e-4 * float(alone.abs().max())


def test_a_scheduler_that_was_given_a_generator_keeps_it():
    """Stable Diffusion hands one on: bits stay what they were with the frames' generators."""
    family = FAMILIES["sd1"]
    pipe = family.fresh()
    pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
    frames = latents(pipe, family, *PROMPTS, seed=7)
    call = {name: value for name, value in arguments(family).items() if name != "output_type"}
    alone = pipe(PROMPTS[0], generator=torch.Generator().manual_seed(7), output_type="latent", **call).images
    assert float((frames[0] - alone[0]).abs().max()) < 1e-4 * float(alone.abs().max())


def test_the_global_generator_is_left_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    latents(stochastic("flux"), FAMILIES["flux"], *PROMPTS)
    assert torch.equal(before, torch.get_rng_state())


def test_the_caller_s_scheduler_is_left_alone():
    pipe = stochastic("sd3")
    latents(pipe, FAMILIES["sd3"], *PROMPTS)
    assert "step" not in vars(pipe.scheduler)


def test_a_scheduler_with_a_source_of_its_own_is_refused():
    family = FAMILIES["sd1"]
    pipe = family.fresh()
    pipe.scheduler = Brownian.from_config(pipe.scheduler.config)
    with pytest.raises(UnsupportedPipelineError, match=type(pipe.scheduler).__name__):
        latents(pipe, family, *PROMPTS)


class Brownian(diffusers.EulerAncestralDiscreteScheduler):
    """As diffusers' schedulers of that kind, which torchsde would be needed for: a source that spans the batch."""

    noise_sampler = None

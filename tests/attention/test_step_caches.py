"""Step caches of diffusers: one batch whatever the sequence's length, or one typed line."""

import diffusers
import pytest
import torch

from aid_pipeline import interpolate
from aid_pipeline.errors import ConfigError, UnsupportedPipelineError
from tests.support.families import FAMILIES, PROMPTS
from tests.support.interpolation import arguments

CACHES = {
    "first_block": lambda: diffusers.FirstBlockCacheConfig(threshold=0.3),
    "taylorseer": lambda: diffusers.hooks.TaylorSeerCacheConfig(cache_interval=2, disable_cache_before_step=1),
    "attention_broadcast": lambda: diffusers.PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2, spatial_attention_timestep_skip_range=(1, 1000)
    ),
}


def flux_with(cache):
    pipe = FAMILIES["flux"].fresh()
    config = CACHES[cache]()
    if hasattr(config, "current_timestep_callback"):
        config.current_timestep_callback = lambda: 500
    pipe.transformer.enable_cache(config)
    return pipe


@pytest.mark.parametrize("cache", CACHES)
def test_a_long_sequence_runs_as_one_batch(cache):
    """By default as with a chunk that holds it; twice, with equal bits."""
    call = arguments(FAMILIES["flux"], frames=12, num_inference_steps=5)
    made = [
        torch.as_tensor(interpolate(flux_with(cache), *PROMPTS, **call | more).images)
        for more in ({}, {"chunk": 24}, {"chunk": 40})
    ]
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])
    without = torch.as_tensor(interpolate(FAMILIES["flux"].fresh(), *PROMPTS, **call).images)
    assert 0 < float((made[0] - without).abs().max()) < 0.2  # the cache is in use, and the frames are still these


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("more", [{"chunk": 2}, {"select": "dynamic"}], ids=["chunk", "dynamic"])
def test_what_a_cache_would_spoil_is_refused_by_its_name(cache, more):
    named = type(CACHES[cache]()).__name__.removesuffix("Config")
    steps = []
    call = arguments(FAMILIES["flux"], frames=4) | more | {"progress": lambda *step: steps.append(step)}
    with pytest.raises(ConfigError, match=named):
        interpolate(flux_with(cache), *PROMPTS, **call)
    assert not steps


def test_a_cache_that_halves_the_batch_is_refused():
    pipe = FAMILIES["flux"].fresh()
    pipe.transformer.enable_cache(
        diffusers.FasterCacheConfig(
            spatial_attention_block_skip_range=2,
            spatial_attention_timestep_skip_range=(-1, 681),
            current_timestep_callback=lambda: 500,
            attention_weight_callback=lambda _: 0.3,
            tensor_format="BFCHW",
            is_guidance_distilled=True,
        )
    )
    with pytest.raises(UnsupportedPipelineError, match="FasterCache"):
        interpolate(pipe, *PROMPTS, **arguments(FAMILIES["flux"], frames=3))

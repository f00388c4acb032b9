"""Stock call of `interpolate`: embeddings, noise and schedulers, against calls by hand."""

import gc

import diffusers
import pytest
import torch

from aid_pipeline import AIDConfig, interpolate
from aid_pipeline.families import find_denoiser

from ..support.families import FAMILIES, GUIDE, PROMPTS
from ..support.interpolation import FULL, STEPS, TEI, arguments
from ..support.running import UNEVEN, distance, stock
from ..support.variations import with_lcm

SD1 = FAMILIES["sd1"]


@pytest.mark.parametrize("guide", [None, GUIDE], ids=["no guide", "guide"])
@pytest.mark.parametrize("cfg", [True, False], ids=["cfg", "no cfg"])
def test_rows_are_those_of_a_call_made_by_hand(family, guide, cfg):
    """Embeddings, pooled and negative ones, masks and slerped latents, against an independent maker of the call."""
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN, guide=guide, cfg=cfg, steps=STEPS)
    sequence = interpolate(
        pipe,
        *PROMPTS,
        frames=len(UNEVEN),
        coefficients=UNEVEN,
        guide=guide,
        config=TEI,
        latents=call["latents"][[0, -1]],
        **arguments(family, cfg, output_type="latent"),
    )
    assert distance(sequence.images, stock(pipe, call)) < 1e-4


def test_endpoints_are_the_stock_call_of_their_prompt_and_seed(family):
    pipe = family.pipeline()
    wanted = arguments(family)
    frames = interpolate(pipe, *PROMPTS, frames=4, config=FULL, seed=(3, 5), **wanted).images
    for index, prompt, seed in ((0, PROMPTS[0], 3), (-1, PROMPTS[1], 5)):
        alone = pipe(prompt=prompt, generator=torch.Generator().manual_seed(seed), **wanted).images[0]
        assert (frames[index] - alone).abs().max() < 1e-4
    assert (frames[1] - frames[0]).abs().max() > 1e-3


@pytest.mark.parametrize("mode", ["outer", "inner", "none", "denoising"])
def test_any_chunk_gives_the_same_frames(family, mode):
    pipe, wanted = family.pipeline(), arguments(family, output_type="latent")
    config = AIDConfig(mode=mode, warmup=1.0)
    whole = interpolate(pipe, *PROMPTS, frames=5, config=config, chunk=100, **wanted).images
    for chunk in (1, 3):
        assert (
            distance(interpolate(pipe, *PROMPTS, frames=5, config=config, chunk=chunk, **wanted).images, whole) < 1e-4
        )


@pytest.mark.parametrize("name", ["sd1", "sdxl", "sd3", "pixart_sigma"])
def test_embeddings_are_in_memory_once(name):
    """Those of all frames, and with guidance as many negative ones: the tensor that the denoiser gets, and no other."""
    family, frames = FAMILIES[name], 9
    pipe, found = family.pipeline(), set()

    def look(module, args, kwargs):
        embeds = kwargs["encoder_hidden_states"]
        alive = [value for value in gc.get_objects() if issubclass(type(value), torch.Tensor)]
        alike = [value for value in alive if value.ndim == 3 and value.shape[1:] == embeds.shape[1:]]
        large = [value for value in alike if value.untyped_storage().nbytes() >= frames * embeds[0].nbytes]
        found.update(value.untyped_storage().data_ptr() for value in large)

    handle = find_denoiser(pipe).register_forward_pre_hook(look, with_kwargs=True)
    interpolate(pipe, *PROMPTS, frames=frames, config=FULL, chunk=3, **arguments(family) | {"num_inference_steps": 1})
    handle.remove()
    assert len(found) == 1


def test_one_seed_starts_all_frames_from_the_same_noise():
    pipe = SD1.pipeline()
    wanted = arguments(SD1, output_type="latent") | {"num_inference_steps": 1}
    same = interpolate(pipe, "a", "a", frames=3, config=TEI, seed=4, **wanted).images
    assert distance(same[1:], same[:-1]) < 1e-5
    two = interpolate(pipe, "a", "a", frames=3, config=TEI, seed=(4, 5), **wanted).images
    assert distance(two[:1], same[:1]) < 1e-5
    assert distance(two[1:], same[1:]) > 0.1


def test_noise_of_a_stochastic_scheduler_is_the_same_in_all_frames_and_that_of_the_stock_call():
    pipe = with_lcm(SD1.fresh())
    wanted = arguments(SD1, output_type="latent")
    frames = interpolate(pipe, "a", "a", frames=3, config=TEI, seed=7, **wanted).images
    assert distance(frames[1:], frames[:-1]) < 1e-5
    alone = pipe(prompt="a", generator=torch.Generator().manual_seed(7), **wanted).images
    assert distance(frames[:1], alone) < 1e-4


def test_all_latents_may_be_given():
    pipe = SD1.pipeline()
    call = SD1.call(pipe, UNEVEN, steps=STEPS)
    call["latents"] = torch.randn(call["latents"].shape, generator=torch.Generator().manual_seed(8))
    wanted = arguments(SD1, output_type="latent", latents=call["latents"], coefficients=UNEVEN, frames=4)
    assert distance(interpolate(pipe, *PROMPTS, config=TEI, **wanted).images, stock(pipe, call)) < 1e-4


@pytest.mark.parametrize("scheduler", [diffusers.HeunDiscreteScheduler, diffusers.KDPM2DiscreteScheduler])
def test_schedulers_that_look_between_steps(scheduler):
    pipe = SD1.fresh()
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    wanted = arguments(SD1)
    frames = interpolate(pipe, *PROMPTS, frames=3, config=FULL, **wanted).images
    alone = pipe(prompt=PROMPTS[1], generator=torch.Generator().manual_seed(0), **wanted).images[0]
    assert (frames[-1] - alone).abs().max() < 1e-4


def test_flux_takes_unpacked_latents():
    family = FAMILIES["flux"]
    pipe, wanted = family.pipeline(), arguments(family, output_type="latent")
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    packed = pipe._pack_latents(noise, 2, 4, 8, 8)
    unpacked = interpolate(pipe, *PROMPTS, frames=3, config=TEI, latents=noise, **wanted).images
    assert torch.equal(unpacked, interpolate(pipe, *PROMPTS, frames=3, config=TEI, latents=packed, **wanted).images)


def test_a_guide_for_each_interior_frame():
    pipe, wanted = SD1.pipeline(), arguments(SD1, output_type="latent")
    one = interpolate(pipe, *PROMPTS, frames=4, guide="x", config=FULL, **wanted).images
    each = interpolate(pipe, *PROMPTS, frames=4, guide=["x", "y"], config=FULL, **wanted).images
    assert distance(each[[0, 1, 3]], one[[0, 1, 3]]) < 1e-5
    assert distance(each[2:3], one[2:3]) > 1e-3

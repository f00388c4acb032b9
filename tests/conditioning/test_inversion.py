"""Inversion on every family: the trajectory leads back to the image, and nothing else of the pipeline changes."""

import copy
import logging

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from aid_pipeline import errors as e
from aid_pipeline import invert
from aid_pipeline.conditioning.image_latents import encode_image
from aid_pipeline.conditioning.inversion import ReversedSteps

from ..support.families import FAMILIES
from ..support.stock_pipelines import STABLE_DIFFUSION_BETAS

SIZE = {"height": 16, "width": 16}
STEPS = 6


def image(size=(16, 16)):
    pixels = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(params=["sd1", "sd2", "sdxl", "sd3", "flux"])
def family(request):
    return FAMILIES[request.param]


def round_trip(pipe, inverted, **arguments):
    """How far the stock call without guidance ends from the clean latents, by their size."""
    scheduler = copy.deepcopy(inverted.scheduler)
    own = copy.copy(pipe)
    vars(own)["scheduler"] = scheduler
    start = inverted.latents[:1]
    own.prepare_latents = lambda *args, **kwargs: _as_stock(pipe, start, *args, **kwargs)
    end = own("a", guidance_scale=1.0, num_inference_steps=STEPS, output_type="latent", **SIZE, **arguments).images
    clean = inverted.latents[-1:]
    return ((end - clean).norm() / clean.norm()).item()


def _as_stock(pipe, start, *args, **kwargs):
    drawn = type(pipe).prepare_latents(pipe, *args, **kwargs)
    return (start, *drawn[1:]) if isinstance(drawn, tuple) else start


def test_more_iterations_lead_nearer_back(family):
    pipe = family.pipeline()
    once, often = (invert(pipe, image(), "a", STEPS, iterations=count, **SIZE) for count in (1, 6))
    errors = [round_trip(pipe, inverted) for inverted in (once, often)]
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.1 or hasattr(pipe, "unet")  # random UNets hardly contract in so few steps
    assert often.latents.shape[0] == STEPS + 1
    assert often.latents.isfinite().all()


def test_the_last_latents_are_the_encoded_image(family):
    pipe = family.pipeline()
    clean, psnr = encode_image(pipe, image(), "cpu", torch.float32)
    inverted = invert(pipe, image(), "a", 2, iterations=1, **SIZE)
    torch.testing.assert_close(inverted.latents[-1:], clean, rtol=0, atol=0)
    assert inverted.psnr == psnr
    assert 0 < psnr < 60


def test_a_linear_model_is_inverted_exactly():
    """v = c x: each step is x (A + B c), so its inverse is known."""
    scheduler = diffusers.DDIMScheduler(**STABLE_DIFFUSION_BETAS)
    scheduler.set_timesteps(8)
    x = torch.randn(1, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    c, latents = 0.1, [x]
    for t in scheduler.timesteps:
        latents.append(scheduler.step(c * latents[-1], t, latents[-1], return_dict=False)[0])
    steps = ReversedSteps(iterations=40)
    steps.install(scheduler)
    scheduler.set_timesteps(8)
    sample = latents[-1]
    for t in scheduler.timesteps:
        sample = scheduler.step(c * sample, t, sample, return_dict=False)[0]
    torch.testing.assert_close(steps.trajectory(), torch.cat(latents).float(), rtol=1e-6, atol=1e-6)


def test_noised_levels_are_those_of_the_scheduler(family):
    pipe = family.pipeline()
    calls = []
    handle = family.denoiser(pipe).register_forward_pre_hook(lambda *_: calls.append(1))
    inverted = invert(pipe, image(), "a", STEPS, path="noised", seed=4, **SIZE)
    handle.remove()
    assert not calls
    assert inverted.latents.shape[0] == STEPS + 1
    distances = (inverted.latents - inverted.latents[-1:]).flatten(1).norm(dim=1)
    assert (distances.diff() < 0).all()  # each level has less noise than the one before
    again = invert(pipe, image(), "a", STEPS, path="noised", seed=4, **SIZE)
    torch.testing.assert_close(again.latents, inverted.latents, rtol=0, atol=0)
    assert not torch.equal(invert(pipe, image(), "a", STEPS, path="noised", seed=5, **SIZE).latents, again.latents)


def test_a_refused_scheduler_is_replaced_and_said(caplog):
    pipe = FAMILIES["sd1"].fresh()
    pipe.scheduler = diffusers.UniPCMultistepScheduler.from_config(pipe.scheduler.config)
    with caplog.at_level(logging.WARNING, logger="aid_pipeline"):
        inverted = invert(pipe, image(), "a", STEPS, iterations=6, **SIZE)
    assert "UniPCMultistepScheduler" in caplog.text
    assert "DDIMScheduler of its configuration" in caplog.text
    assert type(inverted.scheduler) is diffusers.DDIMScheduler
    assert type(pipe.scheduler) is diffusers.UniPCMultistepScheduler
    with pytest.raises(e.InversionError, match="history"):
        invert(pipe, image(), "a", STEPS, strict=True, **SIZE)
    flow = FAMILIES["sd3"].fresh()
    flow.scheduler = diffusers.FlowMatchHeunDiscreteScheduler()
    assert type(invert(flow, image(), "a", 2, **SIZE).scheduler) is diffusers.FlowMatchEulerDiscreteScheduler


def test_the_pipeline_comes_back_as_it_was(family):
    pipe = family.pipeline()
    before = dict(vars(pipe)), dict(vars(pipe.scheduler))
    invert(pipe, image(), "a", 2, iterations=1, **SIZE)
    assert dict(vars(pipe)) == before[0]
    after = dict(vars(pipe.scheduler))
    assert after.keys() == before[1].keys()
    assert all(after[name] is before[1][name] for name in after)


def test_a_photo_is_cropped_and_resized_to_the_frames(tmp_path):
    image((40, 64)).save(tmp_path / "photo.png")
    inverted = invert(FAMILIES["sd1"].pipeline(), tmp_path / "photo.png", "a", 2, iterations=1)
    assert inverted.image.size == (16, 16)  # what the model makes
    assert "16x16, 2 steps" in repr(inverted)


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"path": "null-text"}, e.InversionError, "path must be one of inverted, noised"),
        ({"iterations": 0}, e.InversionError, "iterations must be"),
        ({"num_inference_steps": 2.5}, e.InversionError, "num_inference_steps must be"),
        ({"prompt": None}, e.InversionError, "prompt must be a text"),
        ({"image": None}, e.ImageFileError, "a file or a PIL image"),
        ({"image": "none.png"}, e.ImageFileError, "none.png is no file"),
        ({"image": Image.new("RGB", (900, 10))}, e.ImageFileError, "would keep"),
    ],
)
def test_wrong_arguments_are_named(wrong, error, said):
    with pytest.raises(error, match=said):
        invert(FAMILIES["sd1"].pipeline(), **{"image": image(), "prompt": "a", "num_inference_steps": 2} | wrong)


def test_a_pipeline_with_another_scheduler_and_masked_text():
    pipe = FAMILIES["pixart_sigma"].pipeline()
    options = {"max_sequence_length": 24, "use_resolution_binning": False}
    inverted = invert(pipe, image(), "a", 4, iterations=1, **SIZE, **options)
    assert type(inverted.scheduler) is diffusers.DDIMScheduler
    torch.testing.assert_close(
        inverted.latents[-1:], encode_image(pipe, image(), "cpu", torch.float32)[0], rtol=0, atol=0
    )
    with pytest.raises(e.InversionError, match="PixArtSigmaPipeline refuses the call"):
        invert(pipe, image(), "a", 2, height=17, width=16)

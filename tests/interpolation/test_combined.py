"""`interpolate` on pipelines of a prior and a decoder, in float64: tiny priors amplify rounding."""

import numpy as np
import pytest
import torch

from aid_pipeline import AIDConfig, interpolate
from aid_pipeline.errors import ArgumentError, LatentsError, UnsupportedPipelineError
from tests.support.combined_pipelines import CALL, GUIDANCE, MAKERS, fresh
from tests.support.variations import double

A, B, GUIDE = "a red sphere", "the blue cube", "a jade cone"
names = pytest.mark.parametrize("name", MAKERS)


def exact(name):
    pipe = double(fresh(name))
    for part in (pipe.prior_pipe, pipe.decoder_pipe):
        part.set_progress_bar_config(disable=True)
    return pipe


def frames(pipe, name, *prompts, mode="outer", output_type="latent", **more):
    config = AIDConfig(mode=mode, warmup=1.0, impl="sdpa")
    call = CALL | {GUIDANCE[name]: 3.0, "output_type": output_type, "frames": 4} | more
    return interpolate(pipe, *(prompts or (A, B)), config=config, **call)


def alone(pipe, name, prompt, output_type="latent", **more):
    call = CALL | {GUIDANCE[name]: 3.0, "output_type": output_type} | more
    return pipe(prompt, generator=torch.Generator().manual_seed(0), **call).images[0]


def apart(a, b):
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    return float((a - b).abs().max()) / max(1.0, float(b.abs().max()))


@names
@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_endpoints_are_the_stock_call_s_and_images_between_are_interpolated(name, mode):
    pipe = exact(name)
    made = frames(pipe, name, mode=mode)
    assert apart(made.images[0], alone(pipe, name, A)) < 1e-6
    assert apart(made.images[-1], alone(pipe, name, B)) < 1e-6
    assert apart(made.images[1:-1], frames(pipe, name, mode="none").images[1:-1]) > 1e-5
    assert torch.isfinite(made.images).all()
    assert ("prior_pipe:" in made.report) == (name != "kandinsky")  # whose prior makes vectors


@names
def test_any_chunk_gives_the_same_images(name):
    pipe = exact(name)
    whole = frames(pipe, name, chunk=100).images
    for chunk in (1, 3):
        assert apart(frames(pipe, name, chunk=chunk).images, whole) < 1e-6


@names
def test_a_guide_is_the_text_of_images_between(name):
    pipe = exact(name)
    made = frames(pipe, name, guide=GUIDE, mode="none", frames=3, negative_prompt="dull").images
    assert apart(made[1], alone(pipe, name, GUIDE, negative_prompt="dull")) < 1e-6
    assert apart(made[0], alone(pipe, name, A, negative_prompt="dull")) < 1e-6
    assert apart(made[0], alone(pipe, name, A)) > 1e-5


def test_every_output_type_is_in_0_to_1():
    pipe = fresh("kandinsky")
    arrays = frames(pipe, "kandinsky", output_type="np").images
    assert np.abs(arrays[0] - alone(pipe, "kandinsky", A, output_type="np")).max() < 1e-3
    tensors = frames(pipe, "kandinsky", output_type="pt").images
    assert np.array_equal(tensors.permute(0, 2, 3, 1).numpy(), arrays)
    images = frames(pipe, "kandinsky", output_type="pil").images
    assert np.array_equal(np.asarray(images[1]), (arrays[1] * 255).round().astype("uint8"))


def test_the_vectors_between_are_the_lerp_of_the_endpoints():
    pipe, seen = exact("kandinsky"), []
    handle = pipe.unet.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["added_cond_kwargs"]["image_embeds"]), with_kwargs=True
    )
    frames(pipe, "kandinsky", mode="none", coefficients=(0.0, 0.25, 1.0), frames=3)
    handle.remove()
    rows = seen[0][-3:]
    assert apart(rows[1], 0.75 * rows[0] + 0.25 * rows[2]) < 1e-9
    assert apart(rows[0], rows[2]) > 1e-3


def test_what_is_refused():
    pipe = fresh("kandinsky")
    with pytest.raises(LatentsError, match="two seeds"):
        frames(pipe, "kandinsky", seed=(0, 1))
    with pytest.raises(LatentsError, match="latents"):
        frames(pipe, "kandinsky", latents=torch.randn(2, 4, 16, 16))
    with pytest.raises(UnsupportedPipelineError, match="denoising"):
        frames(pipe, "kandinsky", mode="denoising")
    with pytest.raises(ArgumentError, match="strength"):
        frames(pipe, "kandinsky", strength=0.3)


def test_the_pipeline_comes_back_as_it_was():
    pipe = fresh("stable_cascade")
    parts = pipe.prior_pipe, pipe.decoder_pipe
    before = [dict(vars(part)) for part in (pipe, *parts)]
    frames(pipe, "stable_cascade")
    assert (pipe.prior_pipe, pipe.decoder_pipe) == parts
    for part, was in zip((pipe, *parts), before, strict=True):
        assert {n for n in vars(part) if not n.startswith("_")} == {n for n in was if not n.startswith("_")}
        assert "encode_prompt" not in vars(part)

"""The baseline of the benchmark makes the very frames that `interpolate` makes, only slower."""

import pytest
import torch

from aid_pipeline import AIDConfig, interpolate
from benchmarks.denoiser.public_schedule import denoise, encode

from ...support.families import FAMILIES, NEGATIVE, PROMPTS
from ...support.running import UNEVEN, distance


@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
def test_the_public_schedule_makes_the_same_frames(warmup):
    pipe, config = FAMILIES["sd1"].fresh(), AIDConfig(mode="outer", warmup=warmup)
    noise = torch.randn(len(UNEVEN), 4, 8, 8, generator=torch.Generator().manual_seed(0))
    processors = {name: id(value) for name, value in pipe.unet.attn_processors.items()}
    embeddings = encode(pipe, PROMPTS, NEGATIVE, UNEVEN)
    slow = denoise(pipe, embeddings, noise, UNEVEN, config, num_inference_steps=4, guidance_scale=3.0)
    fast = interpolate(
        pipe,
        *PROMPTS,
        frames=len(UNEVEN),
        coefficients=UNEVEN,
        config=config,
        latents=noise,
        num_inference_steps=4,
        guidance_scale=3.0,
        negative_prompt=NEGATIVE,
        height=16,
        width=16,
        output_type="latent",
    ).images
    assert distance(fast, slow) < 1e-4
    assert {name: id(value) for name, value in pipe.unet.attn_processors.items()} == processors

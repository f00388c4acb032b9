"""Own pipeline: interpolated attention around a stock call whose prompts are encoded by hand.

    python examples/own_pipeline.py --out runs/own

The same works for models that `interpolate` does not know, as long as their attention processors are diffusers' own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from aid_kernels import InterpolationPlan
from aid_pipeline import AIDConfig, Frames, aid, load_model
from aid_pipeline.config import DEFAULT_STEPS

FRAMES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="runs/own", type=Path)
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS)
    options = parser.parse_args()

    pipe = load_model()
    device = pipe.device
    t = torch.linspace(0, 1, FRAMES)
    first, last = (encode(pipe, prompt) for prompt in ("a red sphere", "a blue cube"))
    embeds = torch.cat([torch.lerp(first, last, float(x)) for x in t])  # (frames, tokens, channels)
    negative = encode(pipe, "").expand(FRAMES, -1, -1)
    channels, size = pipe.unet.config.in_channels, pipe.unet.config.sample_size
    noise = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(0))
    latents = noise.to(device, embeds.dtype).expand(FRAMES, -1, -1, -1)

    frames = Frames(InterpolationPlan.sequence(t, device=device), embeds, num_steps=options.steps)
    with aid(pipe, AIDConfig(mode="outer", warmup=0.5), frames) as handle:
        images = pipe(
            prompt_embeds=embeds,
            negative_prompt_embeds=negative,
            latents=latents,
            num_inference_steps=options.steps,
        ).images
        print(handle.report())
    options.out.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        image.save(options.out / f"{number:03}.png")
    print(f"{len(images)} frames in {options.out}; the pipeline is as it was")


def encode(pipe: Any, prompt: str) -> torch.Tensor:
    """Embedding of a prompt, (1, tokens, channels)."""
    embedding, _ = pipe.encode_prompt(prompt, pipe.device, 1, do_classifier_free_guidance=False)
    return embedding


if __name__ == "__main__":
    main()

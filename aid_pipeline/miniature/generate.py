"""Images of the miniature by the stock call, from captions or from image prompts, with fixed seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import DEFAULT_GUIDANCE, DEFAULT_STEPS

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

_BATCH = 25


def generate(pipe: DiffusionPipeline, prompts: list[str], seed: int, **extra: Any) -> np.ndarray:
    """One image for each prompt with the stock call, (n, 64, 64, 3) uint8. ``extra`` goes to every call as it is."""
    import torch
    from tqdm import tqdm

    generated = []
    pipe.set_progress_bar_config(disable=True)
    for first in tqdm(range(0, len(prompts), _BATCH), desc="images", mininterval=10):
        part = prompts[first : first + _BATCH]
        generator = [torch.Generator().manual_seed(seed + first + i) for i in range(len(part))]
        images = pipe(
            part,
            num_inference_steps=DEFAULT_STEPS,
            guidance_scale=DEFAULT_GUIDANCE,
            generator=generator,
            output_type="np",
            **extra,
        ).images
        generated.append((images * 255).round().astype(np.uint8))
    return np.concatenate(generated)


def from_images(pipe: DiffusionPipeline, images: np.ndarray, seed: int) -> np.ndarray:
    """One image for each image prompt, with empty text. The stock call takes one image prompt at a time for all
    rows.
    """
    import torch
    from PIL import Image
    from tqdm import tqdm

    generated = []
    for i, image in enumerate(tqdm(images, desc="image prompts", mininterval=10)):
        out = pipe(
            "",
            ip_adapter_image=Image.fromarray(image),
            num_inference_steps=DEFAULT_STEPS,
            guidance_scale=DEFAULT_GUIDANCE,
            generator=torch.Generator().manual_seed(seed + i),
            output_type="np",
        )
        generated.append((out.images[0] * 255).round().astype(np.uint8))
    return np.stack(generated)

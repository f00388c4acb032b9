"""Inversion of an image file or a PIL image, so that a sequence can begin or end with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .config import DEFAULT_STEPS
from .families import find_denoiser
from .interpolation import exclusive
from .io.image_files import opened_image
from .keyframes import Inversion
from .sampling.inversion import ITERATIONS, check_inversion, invert_image, scheduler_for
from .spec import InterpolationSpec

if TYPE_CHECKING:
    from PIL import Image

FIRST_SEED = InterpolationSpec.seed if isinstance(InterpolationSpec.seed, int) else InterpolationSpec.seed[0]


def invert(
    pipe: Any,
    image: str | Path | Image.Image,
    prompt: str = "",
    num_inference_steps: int = DEFAULT_STEPS,
    *,
    path: Literal["inverted", "noised"] = "inverted",
    iterations: int = ITERATIONS,
    seed: int = FIRST_SEED,
    strict: bool = False,
    **stock: Any,
) -> Inversion:
    """An image's latents at every step of a sequence on this pipeline: `Keyframe(prompt, real=invert(pipe, image))`.

    The image is cropped around its centre and resized to the size of the frames. A scheduler whose steps cannot be
    inverted (noise, history, clipped values) is replaced by DDIM or Euler of its configuration, which the log says.

    Args:
        pipe: a pipeline that makes images from noise and text.
        image: a file or a PIL image.
        prompt: text it is inverted with, which need not describe it.
        num_inference_steps: N of the sequence.
        path: "inverted": N x `iterations` denoiser calls without guidance find the noise it is made from. "noised": the
            same noise at every level, without a denoiser call, on any scheduler.
        iterations: denoiser calls for each step; more are nearer to what the pipeline makes from the noise.
        seed: of the noise of "noised".
        strict: refuse a scheduler instead of replacing it.
        stock: `height`, `width` and other arguments of the stock call, as the sequence will have them.

    Raises:
        ImageFileError: an image that cannot be read, or of quite another shape than the frames.
        InversionError: a pipeline or a scheduler that no image can be inverted on, with the reason; a wrong argument.
    """
    check_inversion(prompt, num_inference_steps, path, iterations)
    picture, name = opened_image(image)
    with exclusive(find_denoiser(pipe)):
        return invert_image(
            pipe,
            picture,
            prompt,
            path=path,
            iterations=iterations,
            scheduler=scheduler_for(pipe, path, num_inference_steps, strict),
            seed=seed,
            call={**stock, "num_inference_steps": num_inference_steps},
            name=name,
        )

"""Latents of an image: encoded as the pipeline's own decoding would undo it, and packed as its denoiser gets them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..errors import InversionError
from ..families import packs_latents


@torch.no_grad()
def encode_image(pipe: Any, image: Image.Image, device: Any, dtype: torch.dtype) -> tuple[Tensor, float]:
    """Latents (1, ...) of an RGB image at the size of the frames, and the autoencoder's PSNR in decibels.

    The mode of the encoder's distribution is taken, so nothing is drawn.

    Raises:
        InversionError: an autoencoder of another kind.
    """
    pixels = pipe.image_processor.preprocess(image)
    with _wide(pipe.vae) as vae:
        mode = _mode(vae, vae.encode(pixels.to(device=device, dtype=vae.dtype)))
        decoded = vae.decode(mode, return_dict=False)[0]
    error = ((decoded.float().cpu().clamp(-1, 1) - pixels.float()) / 2).square().mean()
    psnr = math.inf if error == 0 else float(-10 * error.log10())
    latents = _normalised(vae.config, mode).to(dtype)
    return pipe._pack_latents(latents, *latents.shape) if packs_latents(pipe) else latents, psnr


def _mode(vae: Any, encoded: Any) -> Tensor:
    """The most probable latents of an encoding, or those of an autoencoder without a distribution."""
    distribution = getattr(encoded, "latent_dist", None)
    latents = distribution.mode() if distribution is not None else getattr(encoded, "latents", None)
    if not isinstance(latents, Tensor) or latents.ndim != 4:
        raise InversionError(f"{type(vae).__name__} encodes an image in a way that is not known; no image is inverted")
    return latents


def _normalised(config: Any, latents: Tensor) -> Tensor:
    """Latents as the denoiser knows them; the inverse of what the stock calls do before they decode."""
    factor = config.scaling_factor
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is not None and std is not None:
        shape = (1, -1, 1, 1)
        center, spread = (torch.tensor(values).view(shape).to(latents) for values in (mean, std))
        return (latents - center) * factor / spread
    return (latents - (getattr(config, "shift_factor", None) or 0)) * factor


@contextmanager
def _wide(vae: Any) -> Iterator[Any]:
    """The autoencoder in float32 where its float16 overflows, as stock calls decode; put back afterwards."""
    narrow = vae.dtype == torch.float16 and getattr(vae.config, "force_upcast", False)
    if not narrow:
        yield vae
        return
    vae.to(torch.float32)
    try:
        yield vae
    finally:
        vae.to(torch.float16)

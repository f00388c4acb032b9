"""Frames as tensors: from PIL, through JPEG, normalised as the paper's evaluation had them; the pixel cross-fade."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import MetricsError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
JPEG_QUALITY = 75  # what Pillow writes unless told otherwise


def as_tensor(images: Sequence[Image.Image]) -> Tensor:
    """(m, 3, height, width) float32 in [0, 1] of PIL images of one size.

    Raises:
        MetricsError: none, or different sizes.
    """
    if not images:
        raise MetricsError("there are no images to measure")
    sizes = {image.size for image in images}
    if len(sizes) > 1:
        raise MetricsError(f"images of one sequence must have one size, got {sorted(sizes)}")
    arrays = np.stack([np.asarray(image.convert("RGB")) for image in images])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).contiguous().float() / 255


def as_images(images: Tensor) -> list[Image.Image]:
    """PIL images of (m, 3, height, width) in [0, 1], rounded to 8 bits."""
    arrays = (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


def through_jpeg(images: Tensor) -> Tensor:
    """The images after being written as JPEG (quality 75) and read again; same shape and range."""
    read = []
    for image in as_images(images):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=JPEG_QUALITY)
        read.append(Image.open(file))
    return as_tensor(read).to(images.device)


def imagenet_normalised(images: Tensor) -> Tensor:
    """(x - mean) / std with ImageNet's colours, laid where a distance that maps [0, 1] to [-1, 1] finds them unchanged.

    The paper's evaluation gave LPIPS such images, which reads numbers in [-1, 1]; the result leaves [0, 1].
    """
    mean, std = (
        torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return ((images - mean) / std + 1) / 2


def cross_fade(images: Tensor) -> Tensor:
    """A pixel cross-fade between the first and the last image, of as many frames, evenly spaced.

    It shows why smoothness and consistency say nothing alone: it tends to beat every generator on both.

    Args:
        images: (m, 3, height, width) in [0, 1].
    """
    t = torch.linspace(0, 1, len(images), device=images.device).view(-1, 1, 1, 1)
    return torch.lerp(images[:1], images[-1:], t)

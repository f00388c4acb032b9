"""Sequences of images to measure, and measures whose values can be worked out by hand."""

from pathlib import Path

import torch
from PIL import Image


def moving_square(frames: int = 5, pixels: int = 32, jump: int = 3) -> list[Image.Image]:
    """A square that moves by 2 pixels a frame, and by 8 into frame `jump`."""
    images, x = [], 1
    for index in range(frames):
        x += 0 if index == 0 else 8 if index == jump else 2
        image = Image.new("RGB", (pixels, pixels), (20, 40, 60))
        image.paste((250, 200, 30), (x, 10, x + 8, 18))
        images.append(image)
    return images


def write_frames(folder: Path, images: list[Image.Image], suffix: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        image.save(folder / f"frame{index}.{suffix}")
    return folder


def pixel_distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference: a distance whose values can be worked out by hand."""
    return (first - second).abs().flatten(1).mean(1)


def colour_features(images: torch.Tensor) -> torch.Tensor:
    """Mean and spread of each colour: (n, 6)."""
    return torch.cat([images.mean((2, 3)), images.std((2, 3))], dim=1)


colour_features.name = "colours (of a test)"
pixel_distance.name = "pixels (of a test)"

"""Image preprocessor of a vision tower: resizes to its square and normalises as it was trained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class ImagePreprocessor:
    """What a transformers `preprocessor_config.json` says of images in [0, 1].

    Attributes:
        side: of the square, in pixels.
        mean, std: of the three colours.
    """

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """The preprocessor of a `preprocessor_config.json`.

        Raises:
            OSError: no such file.
            ValueError: no size, image_mean or image_std in it; the message names the file.
        """
        text = path.read_text("utf-8")
        try:
            config = json.loads(text)
            size = config.get("crop_size") or config["size"]
            side = size if isinstance(size, int) else size.get("height") or size["shortest_edge"]
            return cls(int(side), tuple(map(float, config["image_mean"])), tuple(map(float, config["image_std"])))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} must say size, image_mean and image_std of the images ({error})") from error

    def __call__(self, images: Tensor) -> Tensor:
        """What the tower reads, (n, 3, side, side), of (n, 3, height, width) float32 in [0, 1]."""
        if images.shape[2:] != (self.side, self.side):
            images = F.interpolate(images, (self.side, self.side), mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (images - mean) / std

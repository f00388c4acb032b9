"""Attention calls of known models at their usual size, one per kind of layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Attention of one kind of layer.

    Attributes:
        layer: model and layer, for the table.
        heads, query_length, key_length, head_dim: of a row.
        modes: what interpolates it.
    """

    layer: str
    heads: int
    query_length: int
    key_length: int
    head_dim: int
    modes: tuple[str, ...] = ("outer", "inner")


MODELS: dict[str, tuple[Shape, ...]] = {
    "miniature": (
        Shape("miniature, self", 2, 256, 256, 40),
        Shape("miniature, self, low", 2, 64, 64, 80),
        Shape("miniature, cross", 2, 256, 32, 40, ("outer",)),
    ),
    "sd15": (
        Shape("SD 1.5, cross", 8, 4096, 77, 40, ("outer",)),
        Shape("SD 1.5, middle", 8, 256, 256, 160),
        Shape("SD 1.5, self, half", 8, 1024, 1024, 80),
        Shape("SD 1.5, self", 8, 4096, 4096, 40),
    ),
    "sdxl": (
        Shape("SDXL, cross", 20, 1024, 77, 64, ("outer",)),
        Shape("SDXL, cross, wide", 10, 4096, 77, 64, ("outer",)),
        Shape("SDXL, self", 20, 1024, 1024, 64),
        Shape("SDXL, self, wide", 10, 4096, 4096, 64),
    ),
    "sd3": (Shape("SD 3, joint", 24, 4429, 4429, 64),),
    "flux": (Shape("FLUX.1, joint", 24, 4608, 4608, 128),),
}

"""Screen of the fixed orthographic camera: its pixels in scene units, and intensities as sRGB. Gamma is 2."""

from __future__ import annotations

import math

import numpy as np

SIZE = 64
PIXELS_PER_UNIT = 16.0
PITCH = math.radians(26)
TOP = 50 / PIXELS_PER_UNIT  # height on the screen of the first row; the row of the origin is 50
SUN = np.array([[1.0, 0.98, 0.94], [1.0, 0.88, 0.74], [0.66, 0.72, 0.9], [1.0, 1.0, 1.0]], np.float32)
"""Colour of the light, by setting."""


def linear(*rows: tuple[int, int, int]) -> np.ndarray:
    return (np.array(rows, np.float32) / 255) ** 2


def screen(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Screen coordinates in scene units of pixel centres, each (size, size)."""
    step = SIZE / size / PIXELS_PER_UNIT
    centre = (np.arange(size, dtype=np.float32) + 0.5) * step
    across, down = np.meshgrid(centre - SIZE / 2 / PIXELS_PER_UNIT, TOP - centre)
    return across, down


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    rows = np.add.reduce([image[:, i::factor] for i in range(factor)])
    return np.add.reduce([rows[:, :, j::factor] for j in range(factor)]) / image.dtype.type(factor**2)


def encoded(intensity: np.ndarray) -> np.ndarray:
    return (np.sqrt(np.clip(intensity, 0, 1)) * 255 + 0.5).astype(np.uint8)

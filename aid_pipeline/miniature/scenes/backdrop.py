"""Backdrops: floor and sky without objects, painted once per floor and setting."""

from __future__ import annotations

import functools
import math

import numpy as np

from .scene import FLOORS, SETTINGS
from .screen import PITCH, PIXELS_PER_UNIT, SIZE, SUN, TOP, encoded, linear, screen, shrink

HORIZON = 24 / PIXELS_PER_UNIT

_SKY_TOP = linear((112, 176, 236), (88, 84, 150), (14, 18, 48), (214, 214, 218))
_SKY_LOW = linear((212, 234, 250), (252, 168, 96), (48, 58, 112), (240, 240, 242))
_FLOOR = linear((176, 122, 74), (226, 226, 220), (226, 200, 150), (104, 110, 122))


def _floor_albedo(floor: int, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    base = np.broadcast_to(_FLOOR[floor], (*x.shape, 3)).copy()
    if FLOORS[floor] == "wooden":
        plank = np.floor(x / 0.5)
        base *= (0.88 + 0.16 * (plank % 2))[..., None]
        base[np.abs(x / 0.5 - plank - 0.5) > 0.46] *= 0.45
    elif FLOORS[floor] == "tiled":
        dark = (np.floor(x / 0.5) + np.floor(z / 0.75)) % 2 == 1
        base[dark] *= 0.55
    elif FLOORS[floor] == "sandy":
        base *= (1 + 0.07 * np.sin(7 * z + 1.2 * np.sin(2.3 * x)))[..., None]
    else:
        seam = (np.abs((x - 0.5) % 1.0 - 0.5) > 0.47) | (np.abs((z + 0.7) % 1.4 - 0.7) > 0.65)
        base[seam] *= 0.6
    return base


@functools.cache
def lit_backdrops() -> tuple[np.ndarray, np.ndarray]:
    """Lit floor and sky without objects (floors, settings, 64, 64, 3), and the mask of floor pixels (64, 64)."""
    over = 4
    u, v = screen(SIZE * over)
    on_floor = v < HORIZON
    z = v / math.sin(PITCH)
    images = np.empty((len(FLOORS), len(SETTINGS), *u.shape, 3), np.float32)
    for s, setting in enumerate(SETTINGS):
        t = np.clip((v - HORIZON) / (TOP - HORIZON), 0, 1)[..., None]
        sky = _SKY_LOW[s] * (1 - t) + _SKY_TOP[s] * t
        if setting == "sunset":
            d = np.hypot(u + 0.9, v - HORIZON - 0.05)[..., None]
            sky = np.where(d < 0.42, linear((255, 236, 150)), sky + 0.25 * np.exp(-((d / 0.9) ** 2)) * SUN[s])
        elif setting == "night":
            d = np.hypot(u - 1.15, v - HORIZON - 0.95)[..., None]
            sky = np.where(d < 0.26, linear((240, 238, 214)), sky + 0.06 * np.exp(-((d / 0.7) ** 2)))
        elif setting == "daylight":
            for cu, cv, w in ((-1.0, 0.95, 0.5), (-0.65, 1.1, 0.4), (1.1, 0.6, 0.45)):
                d = np.hypot((u - cu) / w, (v - HORIZON - cv) / (0.36 * w))[..., None]
                sky = np.where(d < 1, linear((250, 251, 253)), sky)
        for f in range(len(FLOORS)):
            far = (0.82 + 0.18 * np.clip((z + 2) / 5, 0, 1))[..., None]
            ground = _floor_albedo(f, u, z) * far * (0.25 + 0.75 * SUN[s]) * (0.5 if setting == "night" else 1)
            images[f, s] = np.where(on_floor[..., None], ground, sky)
    flat = images.reshape(-1, SIZE * over, SIZE * over, 3)
    small = shrink(flat, over).reshape(len(FLOORS), len(SETTINGS), SIZE, SIZE, 3)
    return small, screen(SIZE)[1] < HORIZON


def backdrops() -> np.ndarray:
    """Images without objects, (floors, settings, 64, 64, 3) uint8 sRGB."""
    return encoded(lit_backdrops()[0])

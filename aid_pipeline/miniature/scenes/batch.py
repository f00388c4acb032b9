"""Scenes as arrays: a row for each item, and whether items hide the light."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .scene import COLOURS, FLOORS, MATERIALS, SETTINGS, SHAPES, Scene
from .solids import distance_to_hit

_ELEVATION = math.radians(48)


class SceneBatch:
    """Scenes as arrays: one row for each item, sorted so that what is painted later covers what was painted before."""

    def __init__(self, scenes: Sequence[Scene]):
        self.floor = np.array([FLOORS.index(s.floor) for s in scenes])
        self.setting = np.array([SETTINGS.index(s.setting) for s in scenes])
        azimuth = np.radians([s.light_azimuth for s in scenes])
        across = math.cos(_ELEVATION)
        self.light = np.stack(  # unit vectors towards the light, (scenes, 3)
            [across * np.sin(azimuth), np.full(len(scenes), math.sin(_ELEVATION)), -across * np.cos(azimuth)], 1
        ).astype(np.float32)
        rows, layers = [], []
        for index, scene in enumerate(scenes):
            # Paint from far to near; of two that are stacked the lower one first.
            order = sorted(scene.items, key=lambda i: (i.centre[1] if scene.relation == "on" else 0, -i.centre[2]))
            layers.append([0, 1] if order[0] is scene.items[0] else [1, 0])
            for layer, item in enumerate(order):
                kind = SHAPES.index(item.shape), MATERIALS.index(item.material), COLOURS.index(item.colour)
                rows.append((index, layer, *kind, item.scale, item.yaw, *item.centre))
        self.layer_of_item = np.array(layers).reshape(-1, 2)
        table = np.array(rows, np.float64).reshape(-1, 10)
        self.scene, self.layer, self.shape, self.material, self.colour = table[:, :5].astype(int).T
        self.scale, self.yaw = table[:, 5].astype(np.float32), table[:, 6].astype(np.float32)
        self.centre = table[:, 7:].astype(np.float32)
        pair = np.full((len(scenes), 2), -1)
        pair[self.scene, self.layer] = np.arange(len(table))
        self.other = pair[self.scene, 1 - self.layer]  # row of the scene's other item, -1 if there is none

    def to_local(self, rows: np.ndarray, vector: np.ndarray) -> list[np.ndarray]:
        """Turns directions (rows, 3) into the frame of the rows' items, as three columns (rows, 1)."""
        c, s = np.cos(self.yaw[rows]), np.sin(self.yaw[rows])
        x, y, z = vector.T
        return [(c * x - s * z)[:, None], y[:, None], (s * x + c * z)[:, None]]

    def is_shaded(self, rows: np.ndarray, points: list[np.ndarray], light: np.ndarray) -> np.ndarray:
        """Whether items ``rows`` (all of one shape) hide the light (rows, 3) from scenes points, each (rows, P)."""
        offset = [p - self.centre[rows, axis, None] for axis, p in enumerate(points)]
        c, s = np.cos(self.yaw[rows])[:, None], np.sin(self.yaw[rows])[:, None]
        scale = self.scale[rows, None]
        local = [(c * offset[0] - s * offset[2]) / scale, offset[1] / scale, (s * offset[0] + c * offset[2]) / scale]
        hit = distance_to_hit(SHAPES[self.shape[rows[0]]], local, self.to_local(rows, light))
        return np.isfinite(hit)

"""Vectorised ray caster: scenes in, 64x64 images out.

The camera is orthographic and never moves, so floor and sky are painted once per (floor, setting) and only objects,
their shadows and the dimming where they touch the floor are computed for each scene. Objects of one shape and material
are cast together, 2x2 rays a pixel, within a tile around each of them. Light is added up in linear intensity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from .backdrop import lit_backdrops
from .batch import SceneBatch
from .scene import MATERIALS, SHAPES, Scene
from .screen import PITCH, PIXELS_PER_UNIT, SIZE, SUN, TOP, encoded, linear, screen, shrink
from .solids import distance_to_hit, normal_at, pattern_at

_TILE, _SUB = 36, 2
_CHUNK = 64

_FORWARD = np.array([0, -math.sin(PITCH), math.cos(PITCH)], np.float32)
_UP = np.array([0, math.cos(PITCH), math.sin(PITCH)], np.float32)

_ALBEDO = linear(
    (222, 34, 38),
    (245, 128, 16),
    (250, 216, 30),
    (40, 168, 60),
    (40, 205, 215),
    (36, 78, 220),
    (132, 52, 190),
    (250, 130, 185),
)
_SECOND = {"striped": linear((246, 244, 238))[0], "checked": linear((34, 32, 40))[0]}


def _shadows(batch: SceneBatch, count: int) -> np.ndarray:
    """Share of light that reaches each floor pixel, (scenes, 64, 64): soft cast shadows and dimming at the contact."""
    u, v = (a.ravel() for a in screen(SIZE))
    x, z = u[None], (v / math.sin(PITCH))[None]
    lit = np.ones((count, SIZE * SIZE), np.float32)
    blocked = np.zeros((count, SIZE + 2, SIZE + 2), np.float32)
    for shape in range(len(SHAPES)):
        rows = np.flatnonzero(batch.shape == shape)
        if not len(rows):
            continue
        points = [np.broadcast_to(x, (len(rows), x.size)), np.float32(0) * x, np.broadcast_to(z, (len(rows), z.size))]
        hidden = batch.is_shaded(rows, points, batch.light[batch.scene[rows]]).reshape(-1, SIZE, SIZE)
        for layer in (0, 1):  # a scene has one item in each layer, so no index comes twice
            part = batch.layer[rows] == layer
            blocked[batch.scene[rows[part]], 1:-1, 1:-1] += hidden[part]
    np.minimum(blocked, 1, out=blocked)
    across = blocked[:, :, :-2] + blocked[:, :, 1:-1] + blocked[:, :, 2:]
    soft = (across[:, :-2] + across[:, 1:-1] + across[:, 2:]) / 9
    for layer in (0, 1):
        rows = np.flatnonzero(batch.layer == layer)
        c, r = batch.centre[rows], batch.scale[rows, None]
        grounded = np.exp(-((c[:, 1:2] - r) ** 2) * 20)
        d2 = ((x - c[:, :1]) ** 2 + (z - c[:, 2:]) ** 2) / r**2
        lit[batch.scene[rows]] *= 1 - 0.45 * grounded * np.exp(-1.6 * d2)
    return lit.reshape(count, SIZE, SIZE) * (1 - 0.58 * soft)


def _paint_items(batch: SceneBatch, rows: np.ndarray, canvas: np.ndarray) -> None:
    """Casts items of one shape, material and layer, and lays them over ``canvas`` (scenes, 64+2*tile, 64+2*tile, 3).

    With two more numbers a pixel, these say how much of it shows the item of layer 0, and of layer 1.
    """
    shape, material = SHAPES[batch.shape[rows[0]]], MATERIALS[batch.material[rows[0]]]
    scene, centre, scale = batch.scene[rows], batch.centre[rows], batch.scale[rows, None]
    # The tile starts at a whole pixel; what is left over shifts the rays, so that objects move smoothly.
    column = (centre[:, 0] + SIZE / 2 / PIXELS_PER_UNIT) * PIXELS_PER_UNIT
    line = (TOP - centre @ _UP) * PIXELS_PER_UNIT
    left, upper = np.floor(column).astype(int) - _TILE // 2, np.floor(line).astype(int) - _TILE // 2
    step = (np.arange(_TILE * _SUB, dtype=np.float32) + 0.5) / _SUB
    du = ((left[:, None] + step - column[:, None]) / PIXELS_PER_UNIT)[:, None, :] / scale[:, :, None]
    dv = ((line[:, None] - upper[:, None] - step) / PIXELS_PER_UNIT)[:, :, None] / scale[:, :, None]
    right, up, forward = (
        batch.to_local(rows, np.broadcast_to(axis.astype(np.float32), (len(rows), 3)))
        for axis in (np.array([1, 0, 0]), _UP, _FORWARD)
    )
    start = [
        (du * r[..., None] + dv * p[..., None] - 4 * f[..., None]).reshape(len(rows), -1)
        for r, p, f in zip(right, up, forward, strict=False)
    ]
    depth = distance_to_hit(shape, start, forward)
    item, ray = np.nonzero(np.isfinite(depth))  # only rays that hit go on
    t = depth[item, ray]
    where = [s[item, ray] + t * f[item, 0] for s, f in zip(start, forward, strict=False)]
    normal = normal_at(shape, where)

    sun = SUN[batch.setting[scene]]
    light = [axis[item, 0] for axis in batch.to_local(rows, batch.light[scene])]
    facing = np.clip(sum(n * a for n, a in zip(normal, light, strict=False)), 0, 1)
    other = batch.other[rows]
    if (other >= 0).any():
        facing *= _unhidden(batch, rows, other, item, where)
    ambient = 0.3 + 0.14 * normal[1]
    strength = (ambient[:, None] + (0.82 * facing)[:, None] * sun[item]) * (1.0 if material != "matte" else 0.92)
    albedo = _ALBEDO[batch.colour[rows]][item]
    if material in _SECOND:
        albedo = np.where(pattern_at(shape, material, where)[:, None], albedo, _SECOND[material])
    colour = albedo * strength
    if material == "shiny":
        view = [f[item, 0] for f in forward]
        back = sum(n * f for n, f in zip(normal, view, strict=False))
        mirror = sum((f - 2 * back * n) * a for n, f, a in zip(normal, view, light, strict=False))
        rim = np.clip(1 + back, 0, 1) ** 3
        streak = (
            np.exp(-(((where[1] + 0.55 * (where[0] - where[2]) - 0.12) / 0.16) ** 2))
            if shape in ("cube", "cylinder")
            else 0.0
        )
        gleam = 1.5 * np.clip(mirror, 0, 1) ** 10 + 0.4 * rim + 0.6 * streak
        colour = 0.86 * colour + gleam[:, None] * (0.4 + 0.6 * sun[item])

    tile = np.zeros((len(rows), (_TILE * _SUB) ** 2, 4), np.float32)
    tile[item, ray, :3] = np.minimum(colour, 1)
    tile[item, ray, 3] = 1
    tile = shrink(tile.reshape(len(rows), _TILE * _SUB, _TILE * _SUB, 4), _SUB)
    ys = (upper[:, None] + _TILE + np.arange(_TILE))[:, :, None]
    xs = (left[:, None] + _TILE + np.arange(_TILE))[:, None, :]
    under = canvas[scene[:, None, None], ys, xs]
    painted, share = tile[..., :3], tile[..., 3:]
    if canvas.shape[-1] > 3:
        painted = np.concatenate([painted, share * (np.arange(2) == batch.layer[rows[0]])], -1)
    canvas[scene[:, None, None], ys, xs] = under * (1 - share) + painted


def _unhidden(
    batch: SceneBatch, rows: np.ndarray, other: np.ndarray, item: np.ndarray, where: list[np.ndarray]
) -> np.ndarray:
    """0 where a scene's other item hides the light from points ``where`` (local frame), else 1."""
    c, s = np.cos(batch.yaw[rows])[item], np.sin(batch.yaw[rows])[item]
    scale, centre = batch.scale[rows][item], batch.centre[rows][item]
    x, y, z = where
    scene_points = [
        (c * x + s * z) * scale + centre[:, 0],
        y * scale + centre[:, 1],
        (c * z - s * x) * scale + centre[:, 2],
    ]
    free = np.ones(len(item), np.float32)
    caster = other[item]
    for shape in range(len(SHAPES)):
        points = np.flatnonzero((caster >= 0) & (batch.shape[caster] == shape))
        if len(points):
            near = caster[points]
            hidden = batch.is_shaded(near, [w[points, None] for w in scene_points], batch.light[batch.scene[near]])
            free[points] = ~hidden[:, 0]
    return free


def _render_chunk(scenes: Sequence[Scene], items: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Images (scenes, 64, 64, 3) uint8 and, if asked, the share of each pixel that shows each item, (..., 2)."""
    batch = SceneBatch(scenes)
    backdrops, on_floor = lit_backdrops()
    lit = np.where(on_floor, _shadows(batch, len(scenes)), 1)
    canvas = np.zeros((len(scenes), SIZE + 2 * _TILE, SIZE + 2 * _TILE, 5 if items else 3), np.float32)
    canvas[:, _TILE:-_TILE, _TILE:-_TILE, :3] = backdrops[batch.floor, batch.setting] * lit[..., None]
    for layer in (0, 1):
        kind = batch.shape * len(MATERIALS) + batch.material
        for group in np.unique(kind[batch.layer == layer]):
            _paint_items(batch, np.flatnonzero((batch.layer == layer) & (kind == group)), canvas)
    canvas = canvas[:, _TILE:-_TILE, _TILE:-_TILE]
    if not items:
        return encoded(canvas), None
    # Layers are in the order of painting; which item is in which layer differs from scene to scene.
    layers = batch.layer_of_item[:, None, None, :].repeat(SIZE, 1).repeat(SIZE, 2)
    return encoded(canvas[..., :3]), np.take_along_axis(canvas[..., 3:], layers, -1)


def render(scenes: Sequence[Scene] | Scene) -> np.ndarray:
    """Images of scenes, (number, 64, 64, 3) uint8 sRGB; deterministic, and independent of how scenes are grouped."""
    return np.concatenate(
        [np.empty((0, SIZE, SIZE, 3), np.uint8), *(_render_chunk(c, False)[0] for c in _chunks(scenes))]
    )


def render_with_items(scenes: Sequence[Scene] | Scene) -> tuple[np.ndarray, np.ndarray]:
    """Images as of ``render``, and the share of each pixel that shows each of the scene's ``items``.

    The shares are (number, 64, 64, 2) float32 in 0..1; those of a missing second item are 0.
    """
    none = np.empty((0, SIZE, SIZE, 3), np.uint8), np.empty((0, SIZE, SIZE, 2), np.float32)
    images, shares = zip(none, *(_render_chunk(chunk, True) for chunk in _chunks(scenes)), strict=True)
    return np.concatenate(images), np.concatenate(shares)


def _chunks(scenes: Sequence[Scene] | Scene) -> Iterator[Sequence[Scene]]:
    if isinstance(scenes, Scene):
        scenes = [scenes]
    for first in range(0, len(scenes), _CHUNK):
        yield scenes[first : first + _CHUNK]

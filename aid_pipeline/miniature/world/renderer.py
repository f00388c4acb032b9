"""A vectorised ray caster: scenes in, 64x64 pictures out.

The camera is orthographic and never moves, so that floor and sky are painted once per (floor, setting) and only
objects,
their shadows and the dimming where they touch the floor are computed for each scene. Objects of one shape and
material are
cast together, 2x2 rays a pixel, within a tile around each of them. Light is added up in linear intensity; gamma is 2.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from .scene import COLOURS, FLOORS, MATERIALS, SETTINGS, SHAPES, Scene
from .solids import distance_to_hit, normal_at, pattern_at

SIZE = 64
PIXELS_PER_UNIT = 16.0
_PITCH = math.radians(26)
_TOP = 50 / PIXELS_PER_UNIT  # height on the screen of the first row; the row of the origin is 50
_HORIZON = 24 / PIXELS_PER_UNIT
_TILE, _SUB = 36, 2
_CHUNK = 64

_FORWARD = np.array([0, -math.sin(_PITCH), math.cos(_PITCH)], np.float32)
_UP = np.array([0, math.cos(_PITCH), math.sin(_PITCH)], np.float32)
_ELEVATION = math.radians(48)


def _linear(*rows: tuple[int, int, int]) -> np.ndarray:
    return (np.array(rows, np.float32) / 255) ** 2


_ALBEDO = _linear(
    (222, 34, 38),
    (245, 128, 16),
    (250, 216, 30),
    (40, 168, 60),
    (40, 205, 215),
    (36, 78, 220),
    (132, 52, 190),
    (250, 130, 185),
)
_SECOND = {"striped": _linear((246, 244, 238))[0], "checked": _linear((34, 32, 40))[0]}
_SKY_TOP = _linear((112, 176, 236), (88, 84, 150), (14, 18, 48), (214, 214, 218))
_SKY_LOW = _linear((212, 234, 250), (252, 168, 96), (48, 58, 112), (240, 240, 242))
_SUN = np.array([[1.0, 0.98, 0.94], [1.0, 0.88, 0.74], [0.66, 0.72, 0.9], [1.0, 1.0, 1.0]], np.float32)
_FLOOR = _linear((176, 122, 74), (226, 226, 220), (226, 200, 150), (104, 110, 122))


def _screen(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Screen coordinates in world units of pixel centres, each (size, size)."""
    step = SIZE / size / PIXELS_PER_UNIT
    centre = (np.arange(size, dtype=np.float32) + 0.5) * step
    across, down = np.meshgrid(centre - SIZE / 2 / PIXELS_PER_UNIT, _TOP - centre)
    return across, down


def _shrink(picture: np.ndarray, factor: int) -> np.ndarray:
    rows = np.add.reduce([picture[:, i::factor] for i in range(factor)])
    return np.add.reduce([rows[:, :, j::factor] for j in range(factor)]) / picture.dtype.type(factor**2)


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
def _backdrops() -> tuple[np.ndarray, np.ndarray]:
    """Lit floor and sky without objects (floors, settings, 64, 64, 3), and the mask of floor pixels (64, 64)."""
    over = 4
    u, v = _screen(SIZE * over)
    on_floor = v < _HORIZON
    z = v / math.sin(_PITCH)
    pictures = np.empty((len(FLOORS), len(SETTINGS), *u.shape, 3), np.float32)
    for s, setting in enumerate(SETTINGS):
        t = np.clip((v - _HORIZON) / (_TOP - _HORIZON), 0, 1)[..., None]
        sky = _SKY_LOW[s] * (1 - t) + _SKY_TOP[s] * t
        if setting == "sunset":
            d = np.hypot(u + 0.9, v - _HORIZON - 0.05)[..., None]
            sky = np.where(d < 0.42, _linear((255, 236, 150)), sky + 0.25 * np.exp(-((d / 0.9) ** 2)) * _SUN[s])
        elif setting == "night":
            d = np.hypot(u - 1.15, v - _HORIZON - 0.95)[..., None]
            sky = np.where(d < 0.26, _linear((240, 238, 214)), sky + 0.06 * np.exp(-((d / 0.7) ** 2)))
        elif setting == "daylight":
            for cu, cv, w in ((-1.0, 0.95, 0.5), (-0.65, 1.1, 0.4), (1.1, 0.6, 0.45)):
                d = np.hypot((u - cu) / w, (v - _HORIZON - cv) / (0.36 * w))[..., None]
                sky = np.where(d < 1, _linear((250, 251, 253)), sky)
        for f in range(len(FLOORS)):
            far = (0.82 + 0.18 * np.clip((z + 2) / 5, 0, 1))[..., None]
            ground = _floor_albedo(f, u, z) * far * (0.25 + 0.75 * _SUN[s]) * (0.5 if setting == "night" else 1)
            pictures[f, s] = np.where(on_floor[..., None], ground, sky)
    flat = pictures.reshape(-1, SIZE * over, SIZE * over, 3)
    small = _shrink(flat, over).reshape(len(FLOORS), len(SETTINGS), SIZE, SIZE, 3)
    return small, _screen(SIZE)[1] < _HORIZON


def backdrops() -> np.ndarray:
    """Pictures without objects, (floors, settings, 64, 64, 3) uint8 sRGB."""
    return _encoded(_backdrops()[0])


def _encoded(intensity: np.ndarray) -> np.ndarray:
    return (np.sqrt(np.clip(intensity, 0, 1)) * 255 + 0.5).astype(np.uint8)


class _Batch:
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
        """Whether items ``rows`` (all of one shape) hide the light (rows, 3) from world points, each (rows, P)."""
        offset = [p - self.centre[rows, axis, None] for axis, p in enumerate(points)]
        c, s = np.cos(self.yaw[rows])[:, None], np.sin(self.yaw[rows])[:, None]
        scale = self.scale[rows, None]
        local = [(c * offset[0] - s * offset[2]) / scale, offset[1] / scale, (s * offset[0] + c * offset[2]) / scale]
        hit = distance_to_hit(SHAPES[self.shape[rows[0]]], local, self.to_local(rows, light))
        return np.isfinite(hit)


def _shadows(batch: _Batch, count: int) -> np.ndarray:
    """Share of light that reaches each floor pixel, (scenes, 64, 64): soft cast shadows and dimming at the contact."""
    u, v = (a.ravel() for a in _screen(SIZE))
    x, z = u[None], (v / math.sin(_PITCH))[None]
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


def _paint_items(batch: _Batch, rows: np.ndarray, canvas: np.ndarray) -> None:
    """Casts items of one shape, material and layer, and lays them over ``canvas`` (scenes, 64+2*tile, 64+2*tile, 3).

    With two more numbers a pixel, these say how much of it shows the item of layer 0, and of layer 1.
    """
    shape, material = SHAPES[batch.shape[rows[0]]], MATERIALS[batch.material[rows[0]]]
    scene, centre, scale = batch.scene[rows], batch.centre[rows], batch.scale[rows, None]
    # The tile starts at a whole pixel; what is left over shifts the rays, so that objects move smoothly.
    column = (centre[:, 0] + SIZE / 2 / PIXELS_PER_UNIT) * PIXELS_PER_UNIT
    line = (_TOP - centre @ _UP) * PIXELS_PER_UNIT
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

    sun = _SUN[batch.setting[scene]]
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
    tile = _shrink(tile.reshape(len(rows), _TILE * _SUB, _TILE * _SUB, 4), _SUB)
    ys = (upper[:, None] + _TILE + np.arange(_TILE))[:, :, None]
    xs = (left[:, None] + _TILE + np.arange(_TILE))[:, None, :]
    under = canvas[scene[:, None, None], ys, xs]
    painted, share = tile[..., :3], tile[..., 3:]
    if canvas.shape[-1] > 3:
        painted = np.concatenate([painted, share * (np.arange(2) == batch.layer[rows[0]])], -1)
    canvas[scene[:, None, None], ys, xs] = under * (1 - share) + painted


def _unhidden(
    batch: _Batch, rows: np.ndarray, other: np.ndarray, item: np.ndarray, where: list[np.ndarray]
) -> np.ndarray:
    """0 where a scene's other item hides the light from points ``where`` (local frame), else 1."""
    c, s = np.cos(batch.yaw[rows])[item], np.sin(batch.yaw[rows])[item]
    scale, centre = batch.scale[rows][item], batch.centre[rows][item]
    x, y, z = where
    world = [
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
            hidden = batch.is_shaded(near, [w[points, None] for w in world], batch.light[batch.scene[near]])
            free[points] = ~hidden[:, 0]
    return free


def _render_chunk(scenes: Sequence[Scene], items: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Pictures (scenes, 64, 64, 3) uint8 and, if asked, the share of each pixel that shows each item, (..., 2)."""
    batch = _Batch(scenes)
    backdrops, on_floor = _backdrops()
    lit = np.where(on_floor, _shadows(batch, len(scenes)), 1)
    canvas = np.zeros((len(scenes), SIZE + 2 * _TILE, SIZE + 2 * _TILE, 5 if items else 3), np.float32)
    canvas[:, _TILE:-_TILE, _TILE:-_TILE, :3] = backdrops[batch.floor, batch.setting] * lit[..., None]
    for layer in (0, 1):
        kind = batch.shape * len(MATERIALS) + batch.material
        for group in np.unique(kind[batch.layer == layer]):
            _paint_items(batch, np.flatnonzero((batch.layer == layer) & (kind == group)), canvas)
    canvas = canvas[:, _TILE:-_TILE, _TILE:-_TILE]
    if not items:
        return _encoded(canvas), None
    # Layers are in the order of painting; which item is in which layer differs from scene to scene.
    layers = batch.layer_of_item[:, None, None, :].repeat(SIZE, 1).repeat(SIZE, 2)
    return _encoded(canvas[..., :3]), np.take_along_axis(canvas[..., 3:], layers, -1)


def render(scenes: Sequence[Scene] | Scene) -> np.ndarray:
    """Pictures of scenes, (number, 64, 64, 3) uint8 sRGB; deterministic, and independent of how scenes are grouped."""
    return np.concatenate(
        [np.empty((0, SIZE, SIZE, 3), np.uint8), *(_render_chunk(c, False)[0] for c in _chunks(scenes))]
    )


def render_with_items(scenes: Sequence[Scene] | Scene) -> tuple[np.ndarray, np.ndarray]:
    """Pictures as of ``render``, and the share of each pixel that shows each of the scene's ``items``.

    The shares are (number, 64, 64, 2) float32 in 0..1; those of a missing second item are 0.
    """
    none = np.empty((0, SIZE, SIZE, 3), np.uint8), np.empty((0, SIZE, SIZE, 2), np.float32)
    pictures, shares = zip(none, *(_render_chunk(chunk, True) for chunk in _chunks(scenes)), strict=True)
    return np.concatenate(pictures), np.concatenate(shares)


def _chunks(scenes: Sequence[Scene] | Scene) -> Iterator[Sequence[Scene]]:
    if isinstance(scenes, Scene):
        scenes = [scenes]
    for first in range(0, len(scenes), _CHUNK):
        yield scenes[first : first + _CHUNK]

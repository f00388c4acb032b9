"""The five shapes at scale 1 around the origin: where a ray meets them, their normals, and the patterns painted on
them.

Points and directions are lists [x, y, z] of arrays that broadcast; directions have unit length.
"""

from __future__ import annotations

import numpy as np

Vector = list[np.ndarray]

_CUBE = 0.75
_CYLINDER_RADIUS, _CYLINDER_HALF = 0.72, 0.8
_CONE_RADIUS, _CONE_HALF = 0.92, 0.95
_RING_RADIUS, _RING_TUBE = 0.7, 0.28
_EPSILON = np.float32(1e-3)


def distance_to_hit(shape: str, start: Vector, along: Vector) -> np.ndarray:
    """Distance along each ray to its first hit in front of it, +inf where it misses."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _HITS[shape](start, along)


def _first(valid: np.ndarray | bool, distance: np.ndarray) -> np.ndarray:
    return np.where(valid & (distance > _EPSILON), distance, np.float32(np.inf))


def _roots(a: np.ndarray | float, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both roots of a t^2 + 2 b t + c = 0; NaN where there are none (comparisons with NaN are false)."""
    root = np.sqrt(b * b - a * c)
    return (-b - root) / a, (-b + root) / a


def _hit_sphere(o: Vector, d: Vector) -> np.ndarray:
    near, _ = _roots(1.0, o[0] * d[0] + o[1] * d[1] + o[2] * d[2], o[0] ** 2 + o[1] ** 2 + o[2] ** 2 - 1)
    return _first(True, near)


def _slab(o: np.ndarray, d: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    step = half / np.abs(d)
    middle = -o / d
    return middle - step, middle + step


def _hit_cube(o: Vector, d: Vector) -> np.ndarray:
    enter, leave = _slab(o[0], d[0], _CUBE)
    for axis in (1, 2):
        a, b = _slab(o[axis], d[axis], _CUBE)
        enter, leave = np.maximum(enter, a), np.minimum(leave, b)
    return _first(enter <= leave, enter)


def _hit_cylinder(o: Vector, d: Vector) -> np.ndarray:
    low, high = _roots(d[0] ** 2 + d[2] ** 2, o[0] * d[0] + o[2] * d[2], o[0] ** 2 + o[2] ** 2 - _CYLINDER_RADIUS**2)
    a, b = _slab(o[1], d[1], _CYLINDER_HALF)
    enter, leave = np.maximum(low, a), np.minimum(high, b)
    return _first(enter <= leave, enter)


def _hit_cone(o: Vector, d: Vector) -> np.ndarray:
    k = (_CONE_RADIUS / (2 * _CONE_HALF)) ** 2
    y = o[1] - _CONE_HALF  # from the tip down
    a = d[0] ** 2 + d[2] ** 2 - k * d[1] ** 2
    b = o[0] * d[0] + o[2] * d[2] - k * y * d[1]
    both = _roots(a, b, o[0] ** 2 + o[2] ** 2 - k * y**2)
    # The base needs no test: rays from above never see it, and shadow rays that enter there leave through the side.
    hits = [_first(np.abs(o[1] + t * d[1]) <= _CONE_HALF, t) for t in both]
    return np.minimum(*hits)


def _ring_distance(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    around = np.sqrt(x * x + y * y) - _RING_RADIUS
    return np.sqrt(around * around + z * z) - _RING_TUBE


def _hit_ring(o: Vector, d: Vector) -> np.ndarray:
    """The ring stands upright, its axis along z: sphere tracing between the two ends of its bounding slab."""
    enter, leave = np.broadcast_arrays(*_slab(o[2], d[2], _RING_TUBE))
    x, y, z, dx, dy, dz = np.broadcast_arrays(*o, *d)
    middle = (enter + leave) / 2
    gap = _ring_distance(x + middle * dx, y + middle * dy, z + middle * dz)
    near = (gap <= (leave - enter) / 2) & (leave > 0)  # the distance changes by at most 1 per unit of way
    x, y, z, dx, dy, dz = (a[near] for a in (x, y, z, dx, dy, dz))
    t = np.maximum(enter[near], _EPSILON)
    for _ in range(12):
        t = t + _ring_distance(x + t * dx, y + t * dy, z + t * dz)
    gap = _ring_distance(x + t * dx, y + t * dy, z + t * dz)
    hit = np.full(near.shape, np.inf, np.float32)
    hit[near] = np.where((gap < 0.012) & (t <= leave[near] + 0.02), t, np.inf)
    return _first(True, hit)


_HITS = {"sphere": _hit_sphere, "cube": _hit_cube, "cone": _hit_cone, "cylinder": _hit_cylinder, "ring": _hit_ring}


def normal_at(shape: str, point: Vector) -> Vector:
    """Outward unit normals at points of the surface."""
    x, y, z = point
    if shape == "sphere":
        return [x, y, z]
    if shape == "cube":
        size = np.stack([np.abs(x), np.abs(y), np.abs(z)])
        face = size.argmax(0)
        return [np.where(face == axis, np.sign(p), 0).astype(np.float32) for axis, p in enumerate(point)]
    if shape == "cylinder":
        top = y > _CYLINDER_HALF - 1e-3
        return [np.where(top, 0, x / _CYLINDER_RADIUS), top.astype(np.float32), np.where(top, 0, z / _CYLINDER_RADIUS)]
    if shape == "cone":
        radius = np.maximum(np.hypot(x, z), 1e-4)
        slope = np.hypot(_CONE_RADIUS, 2 * _CONE_HALF)
        out = np.float32(2 * _CONE_HALF / slope)
        return [out * x / radius, np.full_like(x, _CONE_RADIUS / slope), out * z / radius]
    around = np.hypot(x, y)
    pull = (around - _RING_RADIUS) / np.maximum(around, 1e-4) / _RING_TUBE
    return [x * pull, y * pull, z / np.float32(_RING_TUBE)]


def pattern_at(shape: str, material: str, point: list[np.ndarray]) -> np.ndarray:
    """True where the object's own colour shows, False where the second colour of stripes or checks does."""
    x, y, z = point
    if shape == "ring":
        sector = np.floor(np.arctan2(y, x) * ((7 if material == "striped" else 6) / np.pi))
        if material == "checked":
            sector = sector + (np.hypot(x, y) > _RING_RADIUS)
        return sector % 2 == 0
    if material == "striped":
        return np.floor((_HEIGHTS[shape] - y) / 0.31 + 0.02) % 2 == 0
    if shape == "cube":
        cells = sum(np.floor(p / 0.5 + 1.5 - 1e-3 * np.sign(p)) for p in point)
        return cells % 2 == 0
    cells = np.floor(np.arctan2(z, x) * (5 / np.pi) + 0.5) + np.floor((_HEIGHTS[shape] - y) / 0.48 + 0.02)
    if shape == "cylinder":
        cells = cells + (np.hypot(x, z) < 0.36)
    return cells % 2 == 0


_HEIGHTS = {"sphere": 1.0, "cube": _CUBE, "cone": _CONE_HALF, "cylinder": _CYLINDER_HALF}

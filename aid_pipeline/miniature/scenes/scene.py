"""What a scene is made of, and how scenes are drawn at random.

Lengths are scene units (the image is 4 units wide, 16 pixels a unit); x points right, y up, z away from the viewer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SHAPES = ("sphere", "cube", "cone", "cylinder", "ring")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
MATERIALS = ("matte", "shiny", "striped", "checked")
SIZES = ("small", "large")
FLOORS = ("wooden", "tiled", "sandy", "slate")
SETTINGS = ("daylight", "sunset", "night", "studio")
PLACES = ("left", "centre", "right")
LIGHTS = ("left", "right")
RELATIONS = ("on", "left", "right")

# Half the height of each shape at scale 1; the shapes are modelled around their centre.
HALF_HEIGHT = {"sphere": 1.0, "cube": 0.75, "cone": 0.95, "cylinder": 0.8, "ring": 0.98}
_SCALES = {1: {"small": 0.64, "large": 0.94}, 2: {"small": 0.52, "large": 0.76}}


@dataclass(frozen=True)
class Item:
    """One object. ``centre`` is in scene units, ``yaw`` in radians about the vertical axis."""

    colour: str
    shape: str
    material: str
    size: str
    centre: tuple[float, float, float]
    scale: float
    yaw: float

    @property
    def appearance(self) -> tuple[str, str, str]:
        return self.colour, self.shape, self.material


@dataclass(frozen=True)
class Scene:
    """One or two items. ``relation`` says where the first of two is as seen from the second; ``place`` is for one
    item.
    """

    items: tuple[Item, ...]
    floor: str
    setting: str
    light: str
    light_azimuth: float
    place: str | None = None
    relation: str | None = None


def is_held_out(colour: str, shape: str, material: str) -> bool:
    """True for 16 of the 160 appearances, which training never shows: every colour twice, every material four times."""
    c, s, m = COLOURS.index(colour), SHAPES.index(shape), MATERIALS.index(material)
    return (c + 2 * m) % 5 == s and (c + m) % 2 == 0


def appearances(held_out: bool) -> list[tuple[str, str, str]]:
    """All (colour, shape, material) that training shows, or all that it never shows."""
    every = [(c, s, m) for c in COLOURS for s in SHAPES for m in MATERIALS]
    return [appearance for appearance in every if is_held_out(*appearance) == held_out]


def _yaw(shape: str, rng: np.random.Generator) -> float:
    if shape == "cube":
        return math.radians(rng.uniform(18, 72))
    return math.radians(rng.uniform(-35, 35))


def _item(
    appearance: tuple[str, str, str], size: str, count: int, x: float, base: float, z: float, rng: np.random.Generator
) -> Item:
    colour, shape, material = appearance
    scale = _SCALES[count][size] * rng.uniform(0.95, 1.05)
    centre = (x, base + HALF_HEIGHT[shape] * scale, z)
    return Item(colour, shape, material, size, centre, scale, _yaw(shape, rng))


def random_scene(rng: np.random.Generator, count: int = 1, held_out: bool = False) -> Scene:
    """Draws one scene with ``count`` items (1 or 2) whose appearances are those of training, or with ``held_out`` all
    others.
    """
    if count not in (1, 2):
        raise ValueError(f"count={count}: a scene has 1 or 2 items")
    pool = _APPEARANCES[held_out]

    def pick(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))]

    floor, setting, light = pick(FLOORS), pick(SETTINGS), pick(LIGHTS)
    azimuth = float(rng.uniform(35, 60)) * (-1 if light == "left" else 1)
    sizes = [pick(SIZES) for _ in range(count)]
    drawn = [pool[int(rng.integers(len(pool)))] for _ in range(count)]
    depth = rng.uniform(-0.25, 0.45)
    if count == 1:
        place = pick(PLACES)
        x = (PLACES.index(place) - 1) * 0.85 + rng.uniform(-0.1, 0.1)
        return Scene((_item(drawn[0], sizes[0], 1, x, 0.0, depth, rng),), floor, setting, light, azimuth, place=place)

    relation = pick(RELATIONS)
    if relation == "on":
        flat = [appearance for appearance in pool if appearance[1] in ("cube", "cylinder")]
        drawn[1] = flat[int(rng.integers(len(flat)))]
    while drawn[0][:2] == drawn[1][:2]:  # two items of one colour and shape could not be told apart in a caption
        drawn[0] = pool[int(rng.integers(len(pool)))]
    if relation == "on":
        x = rng.uniform(-0.5, 0.5)
        below = _item(drawn[1], sizes[1], 2, x, 0.0, depth, rng)
        top = 2 * HALF_HEIGHT[below.shape] * below.scale
        above = _item(drawn[0], sizes[0], 2, x, top, depth, rng)
        return Scene((above, below), floor, setting, light, azimuth, relation=relation)
    side = -1 if relation == "left" else 1
    shift = rng.uniform(-0.15, 0.15)
    first = _item(drawn[0], sizes[0], 2, side * 0.9 + shift, 0.0, depth + rng.uniform(-0.15, 0.15), rng)
    second = _item(drawn[1], sizes[1], 2, -side * 0.9 + shift, 0.0, depth + rng.uniform(-0.15, 0.15), rng)
    return Scene((first, second), floor, setting, light, azimuth, relation=relation)


_APPEARANCES = {flag: appearances(flag) for flag in (False, True)}


def random_scenes(seed: int, number: int, pairs: float = 0.4, held_out: bool = False) -> list[Scene]:
    """``number`` scenes from one seed, a share ``pairs`` of them with two items.

    Raises:
        ValueError: ``number`` is negative or ``pairs`` lies outside 0..1.
    """
    if number < 0:
        raise ValueError(f"number={number}: ask for 0 scenes or more")
    if not 0 <= pairs <= 1:
        raise ValueError(f"pairs={pairs}: a share between 0 and 1 is needed")
    rng = np.random.default_rng(seed)
    return [random_scene(rng, 2 if rng.random() < pairs else 1, held_out) for _ in range(number)]

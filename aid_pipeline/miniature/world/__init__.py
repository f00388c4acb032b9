"""The world the miniature knows: scenes of one or two objects, their pictures and their captions. NumPy only."""

from .grammar import caption, words
from .renderer import backdrops, render, render_with_items
from .scene import (
    COLOURS,
    FLOORS,
    LIGHTS,
    MATERIALS,
    PLACES,
    RELATIONS,
    SETTINGS,
    SHAPES,
    SIZES,
    Item,
    Scene,
    is_held_out,
    looks,
    random_scene,
    random_scenes,
)

__all__ = [
    "COLOURS",
    "FLOORS",
    "LIGHTS",
    "MATERIALS",
    "PLACES",
    "RELATIONS",
    "SETTINGS",
    "SHAPES",
    "SIZES",
    "Item",
    "Scene",
    "backdrops",
    "caption",
    "is_held_out",
    "looks",
    "random_scene",
    "random_scenes",
    "render",
    "render_with_items",
    "words",
]

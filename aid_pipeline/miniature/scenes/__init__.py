"""Synthetic scenes of one or two objects: their images and their captions.

What the miniature is trained on and measured with: `scene` draws one at random, `grammar` captions it, `renderer` casts
rays at `solids` before a `backdrop`, as a `batch` of arrays and through one `screen`. NumPy alone. Imports no other
room.
"""

from .backdrop import backdrops
from .grammar import caption, words
from .renderer import render, render_with_items
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
    appearances,
    is_held_out,
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
    "appearances",
    "backdrops",
    "caption",
    "is_held_out",
    "random_scene",
    "random_scenes",
    "render",
    "render_with_items",
    "words",
]

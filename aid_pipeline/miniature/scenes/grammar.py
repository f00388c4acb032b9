"""Captions: a small grammar with paraphrases, so that prompts read like prompts.

Colour and shape are always said; everything else may be left out, as people do.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

import numpy as np

from .scene import COLOURS, FLOORS, LIGHTS, MATERIALS, PLACES, RELATIONS, SETTINGS, SHAPES, SIZES, Item, Scene

_OPENINGS = ("", "", "", "", "a photo of ", "a picture of ", "a rendering of ", "there is ")
_SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big")}
_MATERIAL_WORDS = {
    "matte": ("matte", "dull"),
    "shiny": ("shiny", "glossy"),
    "striped": ("striped",),
    "checked": ("checked", "checkered"),
}
_SHAPE_WORDS = {
    "sphere": ("sphere", "ball"),
    "cube": ("cube", "box"),
    "cone": ("cone",),
    "cylinder": ("cylinder",),
    "ring": ("ring", "torus"),
}
_FLOOR_WORDS = {
    "wooden": ("on a wooden floor", "on wood"),
    "tiled": ("on a tiled floor", "on tiles"),
    "sandy": ("on a sandy floor", "on sand"),
    "slate": ("on a slate floor", "on slate"),
}
_SETTING_WORDS = {
    "daylight": ("in daylight", "by day", "under a blue sky"),
    "sunset": ("at sunset", "at dusk"),
    "night": ("at night", "by moonlight"),
    "studio": ("in a studio", "in a white studio"),
}
_PLACE_WORDS = {"left": ("on the left",), "centre": ("in the middle", "in the centre"), "right": ("on the right",)}
_LIGHT_WORDS = {side: (f"lit from the {side}", f"with light from the {side}") for side in LIGHTS}
_RELATION_WORDS = {
    "on": ("on", "on top of"),
    "left": ("to the left of", "left of", "beside", "next to"),
    "right": ("to the right of", "right of", "beside", "next to"),
}


def _article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def caption(scene: Scene, seed: int | np.random.Generator = 0, detail: float | None = None) -> str:
    """One caption of ``scene``. ``detail`` is the chance that each optional attribute is said; None draws it too.

    Raises:
        ValueError: ``detail`` lies outside 0..1.
    """
    if detail is not None and not 0 <= detail <= 1:
        raise ValueError(f"detail={detail}: a chance between 0 and 1 is needed")
    rng = np.random.default_rng(seed)
    chance = float(rng.uniform(0.3, 1.0)) if detail is None else detail

    def pick(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))]

    def name(item: Item) -> str:
        words = [pick(_SIZE_WORDS[item.size])] if rng.random() < 0.7 * chance else []
        if rng.random() < 0.4 + 0.6 * chance:
            words.append(pick(_MATERIAL_WORDS[item.material]))
        return _article(" ".join([*words, item.colour, pick(_SHAPE_WORDS[item.shape])]))

    parts = [pick(_OPENINGS) + name(scene.items[0])]
    if scene.relation is not None:
        parts += [pick(_RELATION_WORDS[scene.relation]), name(scene.items[1])]
    elif rng.random() < 0.6 * chance:
        parts.append(pick(_PLACE_WORDS[scene.place or "centre"]))
    extras = [
        pick(options[value])
        for options, value, share in (
            (_FLOOR_WORDS, scene.floor, 1.0),
            (_SETTING_WORDS, scene.setting, 1.0),
            (_LIGHT_WORDS, scene.light, 0.3),
        )
        if rng.random() < share * chance
    ]
    text = " ".join(parts + extras[:1])
    return ", ".join([text, *extras[1:]]) if rng.random() < 0.5 else " ".join([text, *extras[1:]])


def words() -> list[str]:
    """Every word the grammar can say, sorted."""
    groups: list[Mapping[str, tuple[str, ...]]] = [
        _SIZE_WORDS,
        _MATERIAL_WORDS,
        _SHAPE_WORDS,
        _FLOOR_WORDS,
        _SETTING_WORDS,
        _PLACE_WORDS,
        _LIGHT_WORDS,
        _RELATION_WORDS,
    ]
    phrases = itertools.chain(_OPENINGS, COLOURS, ("a", "an", "and"), *(p for group in groups for p in group.values()))
    return sorted({word for phrase in phrases for word in re.findall(r"[a-z]+", phrase)})


assert set(_SIZE_WORDS) == set(SIZES)
assert set(_MATERIAL_WORDS) == set(MATERIALS)
assert set(_SHAPE_WORDS) == set(SHAPES)
assert set(_FLOOR_WORDS) == set(FLOORS)
assert set(_SETTING_WORDS) == set(SETTINGS)
assert set(_PLACE_WORDS) == set(PLACES)
assert set(_RELATION_WORDS) == set(RELATIONS)

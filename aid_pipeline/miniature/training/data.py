"""The training set: scenes rendered once, kept in memory as bytes, and cached in the run folder as one safetensors
file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...atomic_files import replacing
from ..scenes import (
    COLOURS,
    FLOORS,
    LIGHTS,
    MATERIALS,
    PLACES,
    RELATIONS,
    SETTINGS,
    SHAPES,
    SIZES,
    Scene,
    caption,
    random_scenes,
    render_with_items,
)

CAPTIONS = 4  # half of them say all there is to say
PAIRS = 0.6  # share of scenes with two objects, the harder ones
CELL = 8  # pixels; the denoiser's middle sees cells of this size
# What a scene can be asked about: name and options. Class 0 means "does not apply".
QUESTIONS: dict[str, tuple[str, ...]] = {
    "colour": COLOURS,
    "shape": SHAPES,
    "material": MATERIALS,
    "size": SIZES,
    "second colour": COLOURS,
    "second shape": SHAPES,
    "second material": MATERIALS,
    "second size": SIZES,
    "relation": RELATIONS,
    "place": PLACES,
    "floor": FLOORS,
    "setting": SETTINGS,
    "light": LIGHTS,
}


# The questions about one object, for the first and the second, in the order of ``QUESTIONS``.
APPEARANCE = {"colour": COLOURS, "shape": SHAPES, "material": MATERIALS}


def answers(scene: Scene) -> list[int]:
    """The right class for each of ``QUESTIONS``."""
    found: list[str | None] = []
    for index in range(2):
        item = scene.items[index] if index < len(scene.items) else None
        found += [item.colour, item.shape, item.material, item.size] if item else [None] * 4
    found += [scene.relation, scene.place, scene.floor, scene.setting, scene.light]
    return [
        0 if value is None else options.index(value) + 1
        for value, options in zip(found, QUESTIONS.values(), strict=False)
    ]


@dataclass
class SceneData:
    """``images`` (n, 3, 64, 64) uint8, ``tokens`` (n, CAPTIONS, length) int32, ``labels`` (n, questions) int64.

    ``items`` (n, 8, 8) uint8 tells what each cell of 8x8 pixels shows: the first object (1), the second (2) or neither
    (0).
    """

    images: Tensor
    tokens: Tensor
    labels: Tensor
    items: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, index: Tensor) -> Tensor:
        """Float images in -1..1, (len(index), 3, 64, 64)."""
        return self.images[index].float() / 127.5 - 1

    def appearances(self, index: Tensor) -> Tensor:
        """Colour, shape and material that each cell shows, (len(index), 3, 8, 8) int64; 0 where there is no object."""
        starts = (list(QUESTIONS).index(name) for name in ("colour", "second colour"))
        first, second = (self.labels[index][:, start : start + len(APPEARANCE)] for start in starts)
        classes = torch.stack([torch.zeros_like(first), first, second], 2)
        shown = self.items[index].long().flatten(1)
        found = classes.gather(2, shown[:, None].expand(-1, len(APPEARANCE), -1))
        return found.unflatten(2, self.items.shape[1:])


def tokenize(tokenizer: Any, texts: list[str]) -> Tensor:
    """Token ids padded to the tokenizer's length, (len(texts), length)."""
    return tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids


def _shown_items(shares: np.ndarray) -> np.ndarray:
    """Pixel shares of two items (n, 64, 64, 2) to what each cell shows, as in ``SceneData.items``."""
    n, size = shares.shape[:2]
    cells = shares.reshape(n, size // CELL, CELL, size // CELL, CELL, 2).mean((2, 4))
    backdrop = (1 - cells.sum(-1, keepdims=True)) / 2  # small objects fill no cell
    return np.concatenate([backdrop, cells], -1).argmax(-1).astype(np.uint8)


def make_scene_data(tokenizer: Any, number: int, seed: int, pairs: float = PAIRS, held_out: bool = False) -> SceneData:
    scenes = random_scenes(seed, number, pairs, held_out)
    images = np.empty((number, 64, 64, 3), np.uint8)
    items = np.empty((number, 64 // CELL, 64 // CELL), np.uint8)
    for first in range(0, number, 1000):
        part = slice(first, first + 1000)
        images[part], shares = render_with_items(scenes[part])
        items[part] = _shown_items(shares)
    rng = np.random.default_rng(seed + 1)
    details = [1.0 if which % 2 else None for which in range(CAPTIONS)]
    texts = [caption(scene, rng, detail) for scene in scenes for detail in details]
    tokens = tokenize(tokenizer, texts).int().reshape(number, CAPTIONS, -1)
    labels = torch.tensor([answers(scene) for scene in scenes])
    return SceneData(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), tokens, labels, torch.from_numpy(items))


def training_data(tokenizer: Any, folder: Path, number: int, seed: int) -> SceneData:
    """The training set, from ``folder`` if it was rendered before."""
    from safetensors.torch import load_file, save_file

    path = folder / f"scenes-{number}-{seed}-{PAIRS}.safetensors"
    if path.exists():
        return SceneData(**load_file(path))
    data = make_scene_data(tokenizer, number, seed)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        save_file(vars(data), unfinished)
    return data

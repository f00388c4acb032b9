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

from ..world import (
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
    render,
)

CAPTIONS = 4
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
    """``images`` (n, 3, 64, 64) uint8, ``tokens`` (n, CAPTIONS, length) int32, ``labels`` (n, questions) int64."""

    images: Tensor
    tokens: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, index: Tensor) -> Tensor:
        """Float pictures in -1..1, (len(index), 3, 64, 64)."""
        return self.images[index].float() / 127.5 - 1


def tokenize(tokenizer: Any, texts: list[str]) -> Tensor:
    """Token ids padded to the tokenizer's length, (len(texts), length)."""
    return tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids


def make_scene_data(tokenizer: Any, number: int, seed: int, pairs: float = 0.4, held_out: bool = False) -> SceneData:
    scenes = random_scenes(seed, number, pairs, held_out)
    images = torch.from_numpy(render(scenes)).permute(0, 3, 1, 2).contiguous()
    rng = np.random.default_rng(seed + 1)
    texts = [caption(scene, rng) for scene in scenes for _ in range(CAPTIONS)]
    tokens = tokenize(tokenizer, texts).int().reshape(number, CAPTIONS, -1)
    return SceneData(images, tokens, torch.tensor([answers(scene) for scene in scenes]))


def training_data(tokenizer: Any, folder: Path, number: int, seed: int) -> SceneData:
    """The training set, from ``folder`` if it was made before."""
    from safetensors.torch import load_file, save_file

    path = folder / f"scenes-{number}-{seed}.safetensors"
    if path.exists():
        return SceneData(**load_file(path))
    data = make_scene_data(tokenizer, number, seed)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    save_file({"images": data.images, "tokens": data.tokens, "labels": data.labels}, unfinished)
    unfinished.replace(path)
    return data

"""Attribute classifier: a small network that says what an image shows, independent of the model it measures.

It is trained on renders only and never on the model's own towers. It has two slots: the left or upper object, and the
right or lower one. It sees all appearances, also those held out from the model, and renders that were blurred, dimmed
and made noisy, so that it does not stumble over traces a generator leaves.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .scenes import COLOURS, FLOORS, MATERIALS, SETTINGS, SHAPES, Item, Scene, random_scenes, render

LAYOUTS = ("one", "stacked", "beside")
_SLOT = {"colour": COLOURS, "shape": SHAPES, "material": MATERIALS}
_HEADS: list[tuple[str, ...]] = [LAYOUTS, FLOORS, SETTINGS, *_SLOT.values(), *_SLOT.values()]
_UNASKED = -100  # of the second slot in scenes of one object


@dataclass(frozen=True)
class SceneAttributes:
    """What an image shows. ``appearances`` are (colour, shape, material) of the left or upper object, then of the
    other, if any.
    """

    layout: str
    floor: str
    setting: str
    appearances: tuple[tuple[str, str, str], ...]


def slots(scene: Scene) -> tuple[Item, ...]:
    """The scene's items in the classifier's order: left or upper first."""
    return scene.items[::-1] if scene.relation == "right" else scene.items


def truth(scene: Scene) -> SceneAttributes:
    layout = "one" if scene.relation is None else "stacked" if scene.relation == "on" else "beside"
    return SceneAttributes(layout, scene.floor, scene.setting, tuple(item.appearance for item in slots(scene)))


def _classes(scene: Scene) -> list[int]:
    prediction = truth(scene)
    found = [LAYOUTS.index(prediction.layout), FLOORS.index(prediction.floor), SETTINGS.index(prediction.setting)]
    for slot in range(2):
        for part, options in enumerate(_SLOT.values()):
            found.append(
                options.index(prediction.appearances[slot][part]) if slot < len(prediction.appearances) else _UNASKED
            )
    return found


class AttributeClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
            )

        widths = (32, 64, 96, 128)
        layers = [block(3, widths[0], 1)]
        for narrow, wide in itertools.pairwise(widths):
            layers += [block(narrow, wide, 2), block(wide, wide, 1)]
        self.body = nn.Sequential(*layers, block(widths[-1], widths[-1], 2), nn.Flatten(), nn.Dropout(0.2))
        self.heads = nn.Linear(widths[-1] * 16, sum(len(options) for options in _HEADS))

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Logits of each question for pixels (n, 3, 64, 64) in 0..1."""
        return self.heads(self.body(pixels - 0.5)).split([len(options) for options in _HEADS], dim=1)

    @torch.no_grad()
    def classify(self, images: np.ndarray) -> list[SceneAttributes]:
        """Verdicts on images (n, 64, 64, 3) uint8."""
        pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
        best = [[logits.argmax(1) for logits in self(part)] for part in pixels.split(100)]
        predictions = []
        for row in torch.cat([torch.stack(part, 1) for part in best]).tolist():
            names = [options[i] for options, i in zip(_HEADS, row, strict=False)]
            appearances = (tuple(names[3:6]), tuple(names[6:9]))[: 1 if names[0] == "one" else 2]
            predictions.append(SceneAttributes(names[0], names[1], names[2], appearances))
        return predictions


def _augment(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, contrast and noise, each of a random strength for each image."""
    n = len(pixels)

    def strength(most: float) -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=generator) * most

    pixels = torch.lerp(pixels, F.avg_pool2d(pixels, 3, 1, 1, count_include_pad=False), strength(1.0))
    pixels = pixels * (1 - strength(0.15)) + strength(0.1)
    return (pixels + strength(0.06) * torch.randn(pixels.shape, generator=generator)).clamp(0, 1)


def train_classifier(scenes: int = 12_000, steps: int = 1200, batch: int = 64, seed: int = 77) -> AttributeClassifier:
    from tqdm import trange

    drawn = random_scenes(seed, scenes - scenes // 8) + random_scenes(seed + 1, scenes // 8, held_out=True)
    images = torch.from_numpy(render(drawn)).permute(0, 3, 1, 2).contiguous()
    classes = torch.tensor([_classes(scene) for scene in drawn])
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    classifier = AttributeClassifier().train()
    optimizer = torch.optim.AdamW(classifier.parameters(), 2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in trange(steps, desc="classifier", mininterval=20):
        index = torch.randint(len(drawn), (batch,), generator=generator)
        with torch.autocast("cpu", torch.bfloat16):
            logits = classifier(_augment(images[index].float() / 255, generator))
        known = [(part.float(), classes[index, i]) for i, part in enumerate(logits)]
        loss = sum(F.cross_entropy(part, right) for part, right in known if (right != _UNASKED).any())
        loss.backward()  # type: ignore[union-attr]
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return classifier.eval()


def trained_classifier(runs: Path, scenes: int = 12_000, steps: int = 1200) -> AttributeClassifier:
    """The classifier of ``runs``, trained first if it is not there yet (a few minutes on two cores)."""
    from safetensors.torch import load_file, save_file

    path = runs / f"classifier-{scenes}-{steps}.safetensors"
    if not path.exists():
        runs.mkdir(parents=True, exist_ok=True)
        save_file(train_classifier(scenes, steps).state_dict(), path)
    classifier = AttributeClassifier()
    classifier.load_state_dict(load_file(path))
    return classifier.eval()

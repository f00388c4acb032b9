"""Measurement of the miniature, and its model card: ``python -m aid_pipeline.miniature.evaluate``.

Images are generated from captions of appearances that training never showed, and classified by a network that never
saw the model.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import DEFAULT_GUIDANCE, DEFAULT_STEPS
from .card import write_card
from .generate import from_images, generate
from .scenes import Scene, caption, random_scenes, render
from .weights import MODEL_PATH, load

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from .attribute_classifier import AttributeClassifier, SceneAttributes

_SEED = 90_000  # far from the seeds of training


@dataclass(frozen=True)
class Share:
    """``right`` of ``total``, with the 95 % Wilson score interval (Wilson 1927)."""

    right: int
    total: int

    @property
    def value(self) -> float:
        return self.right / self.total

    @property
    def interval(self) -> tuple[float, float]:
        z, n, p = 1.959964, self.total, self.right / self.total
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - reach), min(1.0, middle + reach)

    def figures(self) -> dict[str, Any]:
        return {**asdict(self), "share": round(self.value, 4), "interval_95": [round(x, 4) for x in self.interval]}


def _shares(hits: dict[str, list[bool]]) -> dict[str, Any]:
    return {name: Share(sum(found), len(found)).figures() for name, found in hits.items()}


def _compare_one(seen: list[SceneAttributes], scenes: list[Scene]) -> dict[str, Any]:
    """How often each attribute of the one object, and the floor, are what the caption says."""
    hits: dict[str, list[bool]] = {"colour": [], "shape": [], "material": [], "floor": [], "setting": []}
    for prediction, scene in zip(seen, scenes, strict=False):
        for part, name in enumerate(("colour", "shape", "material")):
            hits[name].append(prediction.appearances[0][part] == scene.items[0].appearance[part])
        hits["floor"].append(prediction.floor == scene.floor)
        hits["setting"].append(prediction.setting == scene.setting)
    return _shares(hits)


def _compare_two(seen: list[SceneAttributes], scenes: list[Scene]) -> dict[str, Any]:
    """Both objects right: two are seen, and colour and shape of both are those asked for, on whichever side.

    "Both with material" asks for the material too; "arrangement" asks that they are stacked or side by side as said.
    """
    hits: dict[str, list[bool]] = {"both": [], "both with material": [], "arrangement": []}
    for prediction, scene in zip(seen, scenes, strict=False):
        asked = [item.appearance for item in scene.items]
        hits["both"].append(
            sorted(appearance[:2] for appearance in prediction.appearances)
            == sorted(appearance[:2] for appearance in asked)
        )
        hits["both with material"].append(sorted(prediction.appearances) == sorted(asked))
        hits["arrangement"].append(prediction.layout == ("stacked" if scene.relation == "on" else "beside"))
    return _shares(hits)


def measure_vae(pipe: DiffusionPipeline, images: np.ndarray) -> float:
    """PSNR in dB of images that went through the autoencoder, from the squared error over all of them."""
    import torch

    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    errors = []
    with torch.no_grad():
        for part in x.split(50):
            back = pipe.vae.decode(pipe.vae.encode(part).latents).sample.clamp(-1, 1)
            errors.append((back - part).square().mean((1, 2, 3)))
    return float(10 * torch.log10(4 / torch.cat(errors).mean()))


def measure_retrieval(model: Path, pipe: DiffusionPipeline, images: np.ndarray, captions: list[str]) -> Share:
    """How often a caption finds its own image among 100 (fewer if fewer are given), with the shipped CLIP."""
    import torch
    from transformers import CLIPModel

    clip = CLIPModel.from_pretrained(model / "clip", dtype=torch.float32, local_files_only=True).eval()
    right = total = 0
    for first in range(0, len(captions), 100):
        part = captions[first : first + 100]
        tokens = pipe.tokenizer(part, padding="max_length", truncation=True, return_tensors="pt").input_ids
        pixels = torch.from_numpy(images[first : first + 100]).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            found = clip(input_ids=tokens, pixel_values=pixels).logits_per_text.argmax(1)
        right += int((found == torch.arange(len(part))).sum())
        total += len(part)
    return Share(right, total)


def measure_speed(model: Path) -> dict[str, float]:
    """Seconds to load (libraries already imported) and to generate one image after a first short one."""
    import torch

    load(model)  # the first time, libraries are imported
    started = time.perf_counter()
    pipe = load(model)
    loaded = time.perf_counter() - started
    pipe.set_progress_bar_config(disable=True)
    pipe("a red cube", num_inference_steps=1)
    started = time.perf_counter()
    pipe("a red cube", num_inference_steps=DEFAULT_STEPS, guidance_scale=DEFAULT_GUIDANCE)
    return {
        "load_seconds": round(loaded, 2),
        "image_seconds": round(time.perf_counter() - started, 2),
        "threads": torch.get_num_threads(),
    }


def _one_of_each(number: int, pairs: float, seed: int, held_out: bool = True) -> tuple[list[Scene], list[str]]:
    scenes = random_scenes(seed, number, pairs, held_out)
    return scenes, [caption(scene, np.random.default_rng([seed, i]), detail=1.0) for i, scene in enumerate(scenes)]


def evaluate(
    model: Path, classifier: AttributeClassifier, samples: int = 500, pairs: int = 200, images: int = 200
) -> dict[str, Any]:
    """All figures of the card. Every number is a count over scenes drawn from fixed seeds."""
    speed = measure_speed(model)
    pipe = load(model)
    singles, single_captions = _one_of_each(samples, 0.0, _SEED)
    doubles, double_captions = _one_of_each(pairs, 1.0, _SEED + 1)
    mixed, mixed_captions = _one_of_each(max(samples, 100), 0.4, _SEED + 2)
    real = render(mixed)
    figures: dict[str, Any] = {
        "settings": {"num_inference_steps": DEFAULT_STEPS, "guidance_scale": DEFAULT_GUIDANCE},
        "speed": speed,
        "vae_psnr_db": round(measure_vae(pipe, real), 2),
        "retrieval_top1_of_100": measure_retrieval(model, pipe, real, mixed_captions).figures(),
        "classifier_on_renders": {
            "one": _compare_one(classifier.classify(render(singles)), singles),
            "two": _compare_two(classifier.classify(render(doubles)), doubles),
        },
        "one": _compare_one(classifier.classify(generate(pipe, single_captions, _SEED)), singles),
        "two": _compare_two(classifier.classify(generate(pipe, double_captions, _SEED)), doubles),
    }
    prompted = random_scenes(_SEED + 3, images, pairs=0.0)
    seen = classifier.classify(from_images(load(model, ip_adapter=True), render(prompted), _SEED))
    parts = _compare_one(seen, prompted)
    both = [v.appearances[0][:2] == s.items[0].appearance[:2] for v, s in zip(seen, prompted, strict=False)]
    figures["image_prompt"] = {"colour and shape": Share(sum(both), len(both)).figures(), **parts}
    return figures


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m aid_pipeline.miniature.evaluate", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_PATH, help="model folder (default: the shipped one)")
    parser.add_argument(
        "--output", type=Path, default=None, help="where card, figures and grid go (default: the model folder)"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/miniature"), help="where the classifier is kept (default: %(default)s)"
    )
    parser.add_argument("--samples", type=int, default=500, help="captions of one object (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=200, help="captions of two objects (default: %(default)s)")
    parser.add_argument("--images", type=int, default=200, help="image prompts (default: %(default)s)")
    parser.add_argument("--classifier-scenes", type=int, default=12_000)
    parser.add_argument("--classifier-steps", type=int, default=1200)
    args = parser.parse_args(arguments)
    for name in ("samples", "pairs", "images", "classifier_scenes", "classifier_steps"):
        if getattr(args, name) < 1:
            raise SystemExit(f"--{name.replace('_', '-')} {getattr(args, name)}: give a number above 0")

    from .attribute_classifier import trained_classifier

    output = args.output or args.model
    classifier = trained_classifier(args.runs, args.classifier_scenes, args.classifier_steps)
    figures = evaluate(args.model, classifier, args.samples, args.pairs, args.images)
    output.mkdir(parents=True, exist_ok=True)
    (output / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    write_card(args.model, output, figures)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()

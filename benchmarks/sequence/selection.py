"""`python -m benchmarks.selection --pairs 50`: dynamic selection against uniform coefficients, pair by pair.

For random pairs of the miniature's scenes: one uniform and one selected sequence of the same prompts and noise, their
smoothness, and what each took: denoiser rows, a count, and seconds, all of `interpolate`. Differences are paired, with
95 % bootstrap intervals. A second distance, of pixels, which selection never saw, tells whether the evenness is more
than fitting one's own ruler. Resumable: every pair is saved, and the same command goes on.
Writes selection.json and selection.md.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aid_pipeline import AIDConfig, Selection, interpolate
from aid_pipeline.atomic_files import write_json
from aid_pipeline.config import DEFAULT_STEPS
from aid_pipeline.families import find_denoiser
from aid_pipeline.io.provenance import fingerprint, model_identity
from aid_pipeline.metrics.distances import Distance, TokenDistance, adjacent_distances, distance, distance_name
from aid_pipeline.metrics.preprocessing import ImagePreprocessor
from aid_pipeline.metrics.step_distances import consistency, smoothness
from aid_pipeline.miniature import MODEL_PATH
from aid_pipeline.models import MINIATURE, load_model
from aid_pipeline.selection.settings import PLACINGS
from aid_pipeline.spec import DEFAULT_FRAMES
from benchmarks.common import machine, sources
from benchmarks.common.result_files import CPU, RESULTS
from benchmarks.paper.pairs import Pair, draw_pairs
from benchmarks.sequence import cpu
from benchmarks.sequence.selection_page import METHODS, page, summary

ASKED = ("prompts", "placing", "per_round", "mode", "warmup", "frames", "steps")


def pixels(first: Tensor, second: Tensor) -> Tensor:
    """Root mean square difference of colours, (n,) of (n, 3, height, width) in [0, 1]."""
    return (first - second).square().mean((1, 2, 3)).sqrt()


class RowCount:
    """Counts the rows that a denoiser runs, in whatever batches."""

    def __init__(self, pipe: Any) -> None:
        self.rows = 0
        denoiser = find_denoiser(pipe)
        first = next(
            module for name, module in denoiser.named_modules() if name in ("conv_in", "pos_embed", "x_embedder")
        )
        first.register_forward_pre_hook(self._count)

    def _count(self, module: Any, args: tuple[Any, ...]) -> None:
        self.rows += len(args[0])

    def taken(self) -> int:
        """Rows since the last call."""
        rows, self.rows = self.rows, 0
        return rows


def load(model: str, which: str) -> tuple[Any, Distance, bool]:
    """A pipeline, the distance to select by, and whether weights are trained; random ones serve to try the command."""
    if model != MINIATURE or (MODEL_PATH / "model_index.json").is_file():
        return load_model(model, dtype="float32"), distance(which), True
    from transformers import CLIPVisionModelWithProjection

    from aid_pipeline.miniature import components

    pipe, _ = cpu.pipeline()
    torch.manual_seed(1)
    tower = CLIPVisionModelWithProjection(components.new_clip(components.new_tokenizer()).config.vision_config)
    return pipe, TokenDistance(tower, "random tower (no result)", ImagePreprocessor(64, (0.5,) * 3, (0.5,) * 3)), False


def measure_pair(
    pipe: Any, pair: Pair, measure: Distance, count: RowCount, options: argparse.Namespace
) -> dict[str, Any]:
    """Both sequences of one pair: smoothness and consistency in both distances, rows and seconds."""
    found: dict[str, Any] = {"pair": pair.name, "prompts": [pair.prompt_a, pair.prompt_b], "seed": pair.seed}
    choice = Selection(distance=measure, placing=options.placing, per_round=options.per_round)
    count.taken()
    for method in METHODS:
        selection = choice if method == "dynamic" else None
        began = time.perf_counter()
        sequence = interpolate(
            pipe,
            pair.prompt_a,
            pair.prompt_b,
            frames=options.frames,
            config=AIDConfig(mode=options.mode, warmup=options.warmup),
            seed=pair.seed,
            num_inference_steps=options.steps,
            output_type="pt",
            select=selection,
        )
        seconds = time.perf_counter() - began
        images = sequence.images.float()
        steps = {name: adjacent_distances(one, images).tolist() for name, one in (("own", measure), ("pixels", pixels))}
        found[method] = {
            "rows": count.taken(),
            "seconds": seconds,
            "coefficients": list(sequence.coefficients),
            **{
                f"{figure.__name__} {name}": figure(distances)
                for name, distances in steps.items()
                for figure in (smoothness, consistency)
            },
        }
        if selection is not None:
            found["jumps"] = sequence.settings["selection"]["jumps"]
    return found


def _weights(pipe: Any) -> dict[str, str]:
    """Fingerprints of the parts that decide the frames; an adapter beside them changes nothing here."""
    folder = Path(pipe.name_or_path or "")
    parts = [name for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)]
    return {name: fingerprint(folder / name)[:16] for name in sorted(parts) if (folder / name).is_dir()}


def _command(options: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """What makes this result again: options that are not the defaults, without places and threads."""
    given = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in vars(options).items()
        if name not in ("out", "threads", "pairs") and value != parser.get_default(name)
    ]
    return " ".join(["python -m benchmarks.selection", f"--pairs {options.pairs}", *given])


def settings_of(pipe: Any, measure: Distance, options: argparse.Namespace) -> dict[str, Any]:
    """All that decides the figures, but for how many pairs, which may grow."""
    identity = model_identity(pipe)
    return {
        "model": identity["id"] or "miniature",
        "revision": identity["revision"],
        "weights": _weights(pipe),
        "distance": distance_name(measure),
        **{name: getattr(options, name) for name in ASKED},
    }


def begin(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """The result with an earlier run's pairs, if any; it then speaks of the code that those were measured with.

    Raises:
        SystemExit: the earlier run had other settings, or its code has changed since.
    """
    if not path.is_file():
        return result
    before = json.loads(path.read_text("utf-8"))
    if before["settings"] != result["settings"]:
        raise SystemExit(f"{path} holds results of other settings or weights; move it away or use another --out")
    changed = sources.Tree.read().changed(before["sources"])
    if changed:
        told = ", ".join(changed)
        raise SystemExit(f"{path} was measured by code that changed since ({told}); move it away or use another --out")
    return result | {"sources": before["sources"], "rows": before["rows"]}


def measure_pairs(
    pipe: Any, measure: Distance, result: dict[str, Any], pairs: list[Pair], options: argparse.Namespace
) -> None:
    """Add the pairs that are missing to a result, which is kept after each."""
    path = options.out / "selection.json"
    done = {row["pair"] for row in result["rows"]}
    count = RowCount(pipe)
    if any(pair.name not in done for pair in pairs):  # the first call of a process is slow
        interpolate(pipe, pairs[0].prompt_a, pairs[0].prompt_b, frames=3, num_inference_steps=1)
    for index, pair in enumerate(pairs):
        if pair.name in done:
            continue
        row = measure_pair(pipe, pair, measure, count, options)
        result["rows"].append(row)
        write_json(path, result)
        gain = row["dynamic"]["smoothness own"] - row["uniform"]["smoothness own"]
        print(f"pair {index + 1} of {len(pairs)}: smoothness {gain:+.4f}", flush=True)
    result["rows"] = [row for row in result["rows"] if row["pair"] in {pair.name for pair in pairs}]
    result["summary"] = summary(result)
    write_json(path, result)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.selection", description=__doc__)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--model", default=MINIATURE, help="miniature, a local folder or a hub id")
    parser.add_argument("--prompts", default="world", help="world, cifar10 or a text file with a caption a line")
    parser.add_argument("--distance", default="miniature", help="as aid interpolate --distance")
    parser.add_argument("--placing", choices=PLACINGS, default=Selection().placing)
    parser.add_argument("--per-round", type=int, help="as Selection; default: two rounds")
    parser.add_argument("--mode", default=AIDConfig().mode)
    parser.add_argument("--warmup", type=float, default=AIDConfig().warmup)
    parser.add_argument("--frames", type=int, default=int(DEFAULT_FRAMES))
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: one a core")
    parser.add_argument("--out", type=Path, default=CPU, help="folder to write to; default %(default)s")
    return parser


def main(arguments: list[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    pipe, measure, trained = load(options.model, options.distance)
    if not trained and options.out.resolve().is_relative_to(RESULTS):
        raise SystemExit(
            "the miniature has no trained weights here; random ones make no result, try them with --out DIR"
        )
    pipe.set_progress_bar_config(disable=True)
    new: dict[str, Any] = {
        "command": _command(options, parser()),
        "machine": machine.describe(),
        "sources": sources.recorded(sources.SELECTION),
        "trained": trained,
        "settings": settings_of(pipe, measure, options),
        "rows": [],
    }
    pairs = draw_pairs(options.prompts, options.pairs, 1)
    result = begin(options.out / "selection.json", new)
    options.out.mkdir(parents=True, exist_ok=True)
    measure_pairs(pipe, measure, result, pairs, options)
    (options.out / "selection.md").write_text(page(result), encoding="utf-8")
    print(page(result))

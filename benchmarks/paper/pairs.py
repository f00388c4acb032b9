"""Which prompts are compared: random pairs of the miniature's scenes, of CIFAR-10's classes, or of a captions file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aid_pipeline.errors import ArgumentError
from aid_pipeline.miniature.scenes import caption, random_scenes

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_WORLD_SEED = 410_000  # far from the seeds of training and of the model card


@dataclass(frozen=True)
class Pair:
    """Two prompts and the noise they share; number `index` of trial `trial`."""

    trial: int
    index: int
    prompt_a: str
    prompt_b: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.trial}-{self.index:04d}"


def draw_pairs(source: str, pairs: int, trials: int, first: int = 0) -> list[Pair]:
    """`pairs` random pairs for each trial, a fresh draw each, in the order of work: trial by trial.

    A pair does not depend on how many are asked for, so that a longer run goes on where a shorter one ended.

    Args:
        source: "world", "cifar10", or the path of a text file with one caption a line.
        first: number of the first trial.

    Raises:
        ArgumentError: no such file, or fewer than two different captions in it.
    """
    captions = None if source == "world" else _captions(source)
    drawn = []
    for trial in range(first, first + trials):
        for index in range(pairs):
            seed = [_WORLD_SEED, trial, index]
            prompts = _of_world(seed) if captions is None else _of_captions(captions, seed)
            drawn.append(Pair(trial, index, *prompts, seed=1000 * trial + index))
    return drawn


def _of_world(seed: list[int]) -> tuple[str, str]:
    """Captions of two scenes of one object each; what they have in common is left to chance."""
    rng = np.random.default_rng(seed)
    first, second = random_scenes(int(rng.integers(2**31)), 2, pairs=0.0)
    a, b = caption(first, rng), caption(second, rng)
    return (a, b) if a != b else _of_world([*seed, 0])


def _of_captions(captions: list[str], seed: list[int]) -> tuple[str, str]:
    first, second = np.random.default_rng(seed).choice(len(captions), 2, replace=False)
    return captions[first], captions[second]


def _captions(source: str) -> list[str]:
    if source == "cifar10":
        return [f"a photo of {'an' if name[0] in 'aeiou' else 'a'} {name}" for name in CIFAR10]
    try:
        lines = Path(source).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"prompts must be world, cifar10 or a text file with a caption a line; {error}") from error
    captions = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(captions) < 2:
        raise ArgumentError(f"{source} must hold at least 2 different captions, it holds {len(captions)}")
    return captions

"""Comparison of methods by eye: rows of frames from equal prompts and noise, on a page and a sheet, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ...atomic_files import write_atomically, write_json
from ...coefficients import BetaPrior
from ...errors import ArgumentError
from ...io.machine import versions
from ...io.provenance import model_identity
from ...spec import InterpolationSpec
from .methods import Method, all_methods, check_shared, pick, runs, sample_methods, shared_arguments
from .page import Rows, html_page, sheet


@dataclass(frozen=True)
class ComparisonSettings:
    """What `aid compare` shows.

    Args:
        spec: what all rows have in common; mode, spacing and seed are each row's own.
        methods: names of the rows, in their order; see `all_methods`.
        seeds: of the noise, one set of rows each.
        beta: "alpha,beta" of the methods with a Beta prior; None or empty means uniform.

    Raises:
        AIDError: everything that can be said before a model is loaded.
    """

    spec: InterpolationSpec
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    beta: str | None

    def __post_init__(self) -> None:
        check_shared(self.spec)
        if len(set(self.seeds)) < len(self.seeds):
            raise ArgumentError(f"every seed once, got {', '.join(map(str, self.seeds))}")
        for seed in self.seeds:
            replace(self.spec, seed=seed)
        runs(self.rows, self.spec.frames)

    @cached_property
    def rows(self) -> dict[str, Method]:
        """The methods by name."""
        config = self.spec.config
        return pick(self.methods, all_methods(BetaPrior.parse(self.beta or "1,1"), config.warmup, config.impl))

    def to_json(self) -> dict[str, Any]:
        """The "arguments" of `comparison.json`."""
        own = {"methods": list(self.methods), "seeds": list(self.seeds), "beta": self.beta}
        return {**shared_arguments(self.spec), **own}

    def line(self) -> str:
        """The settings in one line."""
        spec = self.spec
        return (
            f"{spec.num_inference_steps} steps, guidance {spec.guidance_scale:g}, warm-up {spec.config.warmup:g}, "
            f"Beta prior {self.beta}"
        )


def compare(
    pipe: Any,
    settings: ComparisonSettings,
    folder: Path,
    finished: Callable[[int], None],
    progress: Callable[[int, int, int], None],
) -> list[str]:
    """Sample every row of every seed and write `comparison.html`, `comparison.png` and `comparison.json`.

    Args:
        folder: exists; page and sheet are written anew after each seed, so that an error in the next loses none.
        finished: called with a seed whose rows are written.
        progress: called with (seed, done, in all).

    Returns:
        Names of page and sheet.

    Raises:
        AIDError: as `sample_methods`.
    """
    identity = model_identity(pipe)
    sampled: dict[int, Rows] = {}
    files: list[str] = []
    for seed in settings.seeds:
        sampled[seed] = dict(
            sample_methods(
                pipe,
                replace(settings.spec, seed=seed),
                settings.rows,
                lambda done, total, seed=seed: progress(seed, done, total),  # type: ignore[misc]
            )
        )
        files = _write(folder, settings, sampled, f"{identity['pipeline']}, {settings.line()}")
        finished(seed)
    document = {"model": identity, "versions": versions(), "arguments": settings.to_json()}
    write_json(folder / "comparison.json", document)
    return files


def _write(folder: Path, settings: ComparisonSettings, sampled: Mapping[int, Rows], line: str) -> list[str]:
    a, b = (keyframe.prompt for keyframe in settings.spec.keyframes)
    files = {
        "comparison.html": html_page(a, b, settings.rows, sampled, line),
        "comparison.png": sheet(a, b, settings.rows, sampled),
    }
    for name, content in files.items():
        write_atomically(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
    return list(files)

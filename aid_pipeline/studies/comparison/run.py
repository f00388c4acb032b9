"""Comparison of methods by eye: rows of frames from equal prompts and noise, on a page and a sheet, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...atomic_files import write_atomically, write_json
from ...coefficients import BetaPrior
from ...conditioning.latents import check_seed
from ...conditioning.prompts import check_prompts
from ...errors import ArgumentError
from ...io.machine import versions
from ...io.provenance import model_identity
from ...sampling.stock_arguments import check_numbers
from .methods import Method, all_methods, pick, runs, sample_methods
from .page import Rows, html_page, sheet


@dataclass(frozen=True)
class ComparisonSettings:
    """What `aid compare` shows.

    Args:
        methods: names of the rows, in their order; see `all_methods`.
        beta: "alpha,beta" of the methods with a Beta prior; None or empty means uniform.

    The others are those of `interpolate`.

    Raises:
        AIDError: everything that can be said before a model is loaded.
    """

    prompt_a: str
    prompt_b: str
    seeds: tuple[int, ...]
    frames: int
    methods: tuple[str, ...]
    beta: str | None
    warmup: float
    num_inference_steps: int
    guidance_scale: float

    def __post_init__(self) -> None:
        if self.frames < 3:
            raise ArgumentError(f"frames must be at least 3 to compare what lies between, got {self.frames}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ArgumentError(f"every seed once, got {', '.join(map(str, self.seeds))}")
        for seed in self.seeds:
            check_seed(seed)
        runs(self.rows, self.frames)
        check_prompts(self.prompt_a, self.prompt_b, None, None, 2)
        check_numbers(self.num_inference_steps, self.guidance_scale, "pt", "auto")

    @cached_property
    def rows(self) -> dict[str, Method]:
        """The methods by name."""
        return pick(self.methods, all_methods(BetaPrior.parse(self.beta or "1,1"), self.warmup))

    def to_json(self) -> dict[str, Any]:
        """The "arguments" of `comparison.json`."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._fields().items()}

    def line(self) -> str:
        """The settings in one line."""
        return (
            f"{self.num_inference_steps} steps, guidance {self.guidance_scale:g}, warm-up {self.warmup:g}, "
            f"Beta prior {self.beta}"
        )

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


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
                settings.prompt_a,
                settings.prompt_b,
                settings.rows,
                settings.frames,
                seed,
                settings.num_inference_steps,
                settings.guidance_scale,
                progress=lambda done, total, seed=seed: progress(seed, done, total),  # type: ignore[misc]
            )
        )
        files = _write(folder, settings, sampled, f"{identity['pipeline']}, {settings.line()}")
        finished(seed)
    document = {"model": identity, "versions": versions(), "arguments": settings.to_json()}
    write_json(folder / "comparison.json", document)
    return files


def _write(folder: Path, settings: ComparisonSettings, sampled: Mapping[int, Rows], line: str) -> list[str]:
    a, b = settings.prompt_a, settings.prompt_b
    files = {
        "comparison.html": html_page(a, b, settings.rows, sampled, line),
        "comparison.png": sheet(a, b, settings.rows, sampled),
    }
    for name, content in files.items():
        write_atomically(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
    return list(files)

"""The parts of the GPU run, in the order of their value, and how its time is shared out among them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from benchmarks.common.settings import BenchmarkSettings


@dataclass(frozen=True)
class PartOfRun:
    """One part: its name for `--only`, the module with `run` and `estimated_minutes`, what it does."""

    name: str
    module: str
    what: str
    optional: tuple[str, ...] = ()  # packages it needs that a GPU machine may lack

    def load(self) -> ModuleType | str:
        """The module, or why it cannot be used here."""
        try:
            return importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] not in self.optional:
                raise
            return f"{error.name} is not installed: install it, or name its folder in PYTHONPATH"


CORRECTNESS = PartOfRun(
    "correctness", "benchmarks.gpu.correctness", "GPU tests of the kernels; nothing is timed unless all pass"
)
TIMED = (
    PartOfRun("ceilings", "benchmarks.common.ceilings", "a large matrix product and a large copy"),
    PartOfRun(
        "tune", "benchmarks.tune.search", "the best way to launch the kernel per layer; the parts below run with it"
    ),
    PartOfRun("operator", "benchmarks.operator.gpu", "every peer on every layer, checked, then timed"),
    PartOfRun(
        "denoiser",
        "benchmarks.denoiser.steps",
        "whole SD1.5 and SDXL denoisers, random weights, against the public schedule",
        ("diffusers", "typer", "rich", "scipy", "PIL"),
    ),
    PartOfRun(
        "throughput",
        "benchmarks.denoiser.throughput",
        "many users' sequences in one batch against one after another",
        ("diffusers", "typer", "rich", "scipy", "PIL"),
    ),
)
# what a smoke run and a real one both do first, whatever is asked for, and last
MACHINE = "machine"
FILES = "files"
NAMES = (MACHINE, CORRECTNESS.name, *(part.name for part in TIMED))
MOST_OF_CORRECTNESS = 0.5  # of all the time, before it counts as failed


def chosen(only: Sequence[str] | None) -> list[PartOfRun]:
    """The timed parts to run, in their order; all without `only`."""
    return [part for part in TIMED if not only or part.name in only]


def deadline_of_first(minutes: Sequence[float], now: float, end: float) -> float:
    """When the first of the remaining parts has to end: its share, by estimates, of the time until `end`.

    So what a part leaves over, the later ones get, and where all is too much, all get less.
    """
    total = sum(minutes)
    return now + (end - now) * (minutes[0] / total if total else 1.0)


def plan(parts: Sequence[PartOfRun], settings: BenchmarkSettings, budget: float) -> str:
    """A table of what would be run, in which order, and for how long on an H200-class card."""
    lines = [("part", "minutes", "what"), (MACHINE, "0.0", "GPU, driver, versions, commit")]
    total = 0.0
    for part in (CORRECTNESS, *parts):
        module = part.load()
        if isinstance(module, str):
            lines.append((part.name, "-", f"{part.what}; cannot: {module}"))
            continue
        minutes = float(module.estimated_minutes(settings))
        total += minutes
        lines.append((part.name, f"{minutes:.1f}", part.what))
    lines.append((FILES, "0.0", "written as results come: CSV, JSON, SVG, the tests' log, the tuned configurations"))
    table = "\n".join(f"{name:12} {minutes:>8}  {what}" for name, minutes, what in lines)
    shared = "" if total <= budget else "; every part gets less in proportion, what matters most comes first"
    return f"{table}\n{'together':12} {total:>8.1f}  of {budget:g} minutes{shared}"

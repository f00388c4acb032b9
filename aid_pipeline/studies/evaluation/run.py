"""Evaluation of sequences: those in folders, or those of a file of prompts, measured and reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...coefficients import BetaPrior
from ...config import AIDConfig
from ...errors import ArgumentError
from ...metrics.frame_folder import read_frames
from ...metrics.presets import Instruments
from ...request import Request
from .measure import measure, summarise
from .prompts_file import read_prompts, requests_for
from .report import write_report

GENERATION = (
    *("model", "device", "dtype", "frames", "mode", "fuse_self", "warmup", "beta"),
    *("num_inference_steps", "guidance_scale", "chunk"),
)
"""Settings of sequences that are generated from prompts; a folder's frames have none."""


def requests_of(source: Path, generation: Mapping[str, Any]) -> list[Request]:
    """The sequences of a CSV of prompts.

    Args:
        source: the CSV.
        generation: every one of `GENERATION` by name; "beta" as the text of a Beta prior, "chunk" None for auto.

    Raises:
        AIDError: settings or lines that no sequence can have.
    """
    chosen = dict(generation)
    if chosen["frames"] < 3:
        raise ArgumentError(f"frames must be at least 3 to be measured, got {chosen['frames']}: nothing lies between")
    where = {name: chosen.pop(name) for name in ("model", "device", "dtype")}
    config = AIDConfig(**{name: chosen.pop(name) for name in ("mode", "fuse_self", "warmup")})
    chunk, beta = chosen.pop("chunk"), chosen.pop("beta")
    chosen |= {"chunk": "auto" if chunk is None else chunk, "config": config}
    chosen |= {"coefficients": None if beta is None else BetaPrior.parse(beta)}
    return requests_for(read_prompts(source), chosen, **where)


def evaluate(
    folders: Sequence[Path],
    instruments: Instruments,
    resamples: int,
    out: Path,
    plots: bool,
    each: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> tuple[dict[str, Any], list[str]]:
    """Measure sequences and write `evaluation.json`, `evaluation.md` and, if wanted, plots.

    Args:
        folders: of one sequence each.
        resamples: for the intervals of FID and KID.
        each: goes through the folders, so that a command can show how far it is.

    Returns:
        What `evaluation.json` holds, and the names of the files.

    Raises:
        AIDError: frames that cannot be measured or compared.
    """
    measured = [measure(read_frames(folder), instruments) for folder in each(folders)]
    result = summarise(measured, instruments, resamples)
    return result, write_report(out, result, measured, plots)

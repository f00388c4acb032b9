"""Evaluation of sequences: those in folders, or those of a file of prompts, measured and reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ...errors import ArgumentError
from ...metrics.frame_folder import read_frames
from ...metrics.presets import Instruments
from ...request import Request
from ...spec import InterpolationSpec
from .measure import measure, summarise
from .prompts_file import read_prompts, requests_for
from .report import write_report


def requests_of(source: Path, arguments: dict[str, Any], **where: Any) -> list[Request]:
    """The sequences of a CSV of prompts.

    Args:
        source: the CSV.
        arguments: of `interpolate`, but those of a line; the same for all sequences.
        where: `model`, `device` and `dtype` of a `Request`.

    Raises:
        AIDError: arguments or lines that no sequence can have.
    """
    frames = InterpolationSpec.between("a", "b", **arguments).frames  # says what is wrong before the file is read
    if frames < 3:
        raise ArgumentError(f"frames must be at least 3 to be measured, got {frames}: nothing lies between")
    return requests_for(read_prompts(source), arguments, **where)


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

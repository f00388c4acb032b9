"""One sequence on the command line: generated into its folder, with progress, interruption and a summary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.markup import escape

from ..io.formats import Formats
from ..io.output_folder import OutputFolder, finished_claim
from ..io.saving import add_formats, save_frames
from ..request import Request, equal_claims
from ..sequence import FrameSequence
from .console import FAILURE, console, errors, exit_with
from .progress import progress_bar, quiet_libraries


def generate(request: Request, out: Path, formats: Formats) -> None:
    """Generate one sequence and save it; a folder that holds it already gets the moving images that it lacks.

    Raises:
        AIDError: bad input, before the first step.
        OutputFolderError: moving images to add to a sequence whose frames are gone.
        typer.Exit: with code 1 when interrupted, or when frames are at fault.
    """
    request.check()
    formats.names()  # a video without its extra
    claim = request.claim()
    if equal_claims(finished_claim(out), claim):
        added = add_formats(out, formats)
        news = f"added {', '.join(added)}" if added else "nothing to do"
        _print(f"{out} already holds this very sequence; {news}.")
        return
    quiet_libraries()
    folder = OutputFolder(out, claim)
    try:
        with threads(request.threads):
            sequence = _sample(request, folder, formats)
    except KeyboardInterrupt as error:
        raise exit_with(errors, f"interrupted; {_what_is_saved(folder)}", FAILURE) from error
    finally:
        folder.release()
    _summarise(sequence, folder)
    for fault in sequence.faults:
        errors.print(f"[red]fault:[/red] {escape(fault)}", highlight=False, soft_wrap=True)
    if sequence.faults:
        raise typer.Exit(FAILURE)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Run with so many CPU threads of torch, and put the number back; None leaves it."""
    import torch

    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)


def _sample(request: Request, folder: OutputFolder, formats: Formats) -> FrameSequence:
    with progress_bar(console) as bar:
        task = bar.add_task(f"loading {escape(Path(request.model).name)}", total=None)
        pipe = request.load()
        pipe.set_progress_bar_config(disable=True)

        def step(done: int, total: int) -> None:
            if done == 0:  # the time left is that of steps, not of loading
                bar.reset(task, total=total, description=f"denoising {request.spec.frames} frames")
            bar.update(task, completed=done)
            if done == total:
                bar.update(task, description="decoding and saving")

        sequence = request.sample(pipe, step)
        save_frames(sequence.pil_frames(), sequence.document(), folder, formats, sequence.latents, sequence.end_images)
        bar.update(task, description="done")
    return sequence


def _summarise(sequence: FrameSequence, folder: OutputFolder) -> None:
    timings, dtype, length = sequence.timings, sequence.settings["model"]["dtype"], sequence.clip_length
    what = "frames" if length is None else f"clips of {length} images"
    seconds = f"{timings['total']:.1f} s (denoising {timings['denoise']:.1f} s, {dtype})"
    _print(f"{len(sequence)} {what} in {seconds}: {folder.path}")
    selection = sequence.settings.get("selection")
    if selection:
        numbers = ", ".join(f"{t:.3f}" for t in sequence.coefficients)
        _print(
            f"coefficients chosen by {selection['method']} selection, {selection['distance']}: "
            f"{numbers} ({selection['denoised_frames']} frames denoised)"
        )
    if sequence.report:
        _print(sequence.report.splitlines()[0])


def _print(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def _what_is_saved(folder: OutputFolder) -> str:
    saved = folder.saved()
    if not saved:
        return "nothing is saved yet, and nothing is left behind"
    listed = saved[0] if len(saved) == 1 else f"{saved[0]} to {saved[-1]} ({len(saved)} files)"
    return f"{folder.path} holds {listed}, each whole; the same command generates the sequence anew"

"""What the command line does around one sequence: folder, progress, interruption, exit codes."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..errors import AIDError, BusyError, FrameWarning, RowsError
from ..io.output_folder import OutputFolder, finished_recipe
from ..request import Request

FAILURE, BAD_INPUT = 1, 2


@contextmanager
def report_errors(errors: Console) -> Iterator[None]:
    """Say an error in one line and exit: 2 for bad input, 1 for failures; programming errors keep their traceback."""
    try:
        yield
    except (BusyError, RowsError) as error:
        raise _exit(errors, str(error), FAILURE) from error
    except AIDError as error:
        raise _exit(errors, str(error), BAD_INPUT) from error
    except OSError as error:
        raise _exit(errors, f"{error.filename or 'a file'}: {error.strerror or error}", FAILURE) from error
    except KeyboardInterrupt as error:  # while loading: `make` says more once there is something to say
        raise _exit(errors, "interrupted; nothing was saved", FAILURE) from error
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        raise _exit(errors, f"out of memory ({_first_line(error)}); use a smaller --chunk or size", FAILURE) from error


def make(request: Request, out: Path, saving: dict[str, Any], console: Console, errors: Console) -> None:
    """Make one sequence and save it, with progress.

    Raises:
        AIDError: bad input, before the first step.
        OutputFolderError: moving pictures to add to a sequence whose frames are gone.
        typer.Exit: with code 1 when interrupted, or when frames are at fault.
    """
    from ..io.saving import add_formats, check_fps, check_video, save_sequence

    request.check()
    check_fps(saving["fps"])
    saving = {**saving, "video": check_video(saving["video"])}
    if finished_recipe(out) == _as_json(request.recipe()):
        added = add_formats(out, **saving)
        what = f"added {', '.join(added)}" if added else "nothing to do"
        console.print(f"{escape(str(out))} already holds this very sequence; {what}.", highlight=False, soft_wrap=True)
        return
    quiet_libraries()
    folder = OutputFolder(out, request.recipe())
    try:
        with progress_bar(console) as bar:
            task = bar.add_task(f"loading {escape(Path(request.model).name)}", total=None)
            pipe = request.load()
            pipe.set_progress_bar_config(disable=True)

            def step(done: int, total: int) -> None:
                if done == 0:  # the time left is that of steps, not of loading
                    bar.reset(task, total=total, description=f"denoising {request.arguments['frames']} frames")
                bar.update(task, completed=done)
                if done == total:
                    bar.update(task, description="decoding and saving")

            sequence = request.make(pipe, step)
            save_sequence(sequence, folder, **saving)
            bar.update(task, description="done")
    except KeyboardInterrupt as error:
        raise _exit(errors, f"interrupted; {_what_is_saved(folder)}", FAILURE) from error
    finally:
        folder.release()
    _summary(sequence, folder, console)
    for fault in sequence.faults:
        errors.print(f"[red]fault:[/red] {escape(fault)}", highlight=False, soft_wrap=True)
    if sequence.faults:
        raise typer.Exit(FAILURE)


def _summary(sequence: Any, folder: OutputFolder, console: Console) -> None:
    timings = sequence.timings
    console.print(
        f"{len(sequence)} frames in {timings['total']:.1f} s (denoising {timings['denoise']:.1f} s): "
        f"{escape(str(folder.path))}",
        highlight=False,
        soft_wrap=True,
    )
    selection = sequence.settings.get("selection")
    if selection:
        console.print(
            f"coefficients chosen by {selection['method']} selection, {escape(selection['distance'])}: "
            f"{', '.join(f'{t:.3f}' for t in sequence.coefficients)} ({selection['denoised_frames']} frames denoised)",
            highlight=False,
            soft_wrap=True,
        )
    if sequence.report:
        console.print(escape(sequence.report.splitlines()[0]), highlight=False, soft_wrap=True)


def _what_is_saved(folder: OutputFolder) -> str:
    saved = folder.saved()
    if not saved:
        return "nothing is saved yet, and nothing is left behind"
    listed = saved[0] if len(saved) == 1 else f"{saved[0]} to {saved[-1]} ({len(saved)} files)"
    return f"{folder.path} holds {listed}, each whole; the same command makes the sequence anew"


def progress_bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


def quiet_libraries() -> None:
    """One progress bar is enough; faults are said in our own words, and errors still come through."""
    logging.getLogger("transformers").setLevel(logging.ERROR)  # before its first import speaks
    import diffusers
    import transformers

    logging.getLogger("diffusers.pipelines.pipeline_utils").addFilter(_says_something)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FrameWarning)


def _says_something(record: logging.LogRecord) -> bool:
    """Not of the miniature's VAE, a stock class, that stock pipelines are annotated with the larger one."""
    return not record.getMessage().startswith("Expected types for vae")


def _exit(errors: Console, message: str, code: int) -> typer.Exit:
    errors.print(f"[red]error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
    return typer.Exit(code)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))

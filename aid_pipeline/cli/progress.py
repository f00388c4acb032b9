"""Progress bar of the command line; the libraries' own bars and messages are turned off for it."""

from __future__ import annotations

import logging
import warnings

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..errors import FrameWarning


def progress_bar(console: Console) -> Progress:
    """A bar with counts and times; prints nothing where the console is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


def quiet_libraries() -> None:
    """Turn off progress bars and warnings of diffusers and transformers; their errors still come through.

    Faults of frames are printed by the command itself, so `FrameWarning` is ignored until `report_errors` puts the
    filters back.
    """
    logging.getLogger("transformers").setLevel(logging.ERROR)  # before its first import speaks
    import diffusers
    import transformers

    logging.getLogger("diffusers.pipelines.pipeline_utils").addFilter(_is_news)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FrameWarning)


def _is_news(record: logging.LogRecord) -> bool:
    """False for the miniature's VAE, a stock class, where stock pipelines are annotated with the larger one."""
    return not record.getMessage().startswith("Expected types for vae")

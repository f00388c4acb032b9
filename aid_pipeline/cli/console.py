"""Consoles of the command line, and errors as one line with an exit code."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import AIDError, BusyError, RowsError

FAILURE, BAD_INPUT = 1, 2
console, errors = Console(), Console(stderr=True)


@contextmanager
def report_errors(errors: Console) -> Iterator[None]:
    """Print an error in one line and exit: 2 for bad input, 1 for failures; programming errors keep their traceback.

    Warning filters that the command sets meanwhile are put back.
    """
    with warnings.catch_warnings():
        try:
            yield
        except (BusyError, RowsError) as error:
            raise exit_with(errors, str(error), FAILURE) from error
        except AIDError as error:
            raise exit_with(errors, str(error), BAD_INPUT) from error
        except OSError as error:
            reason = f"{error.filename or 'a file'}: {error.strerror or error}"
            raise exit_with(errors, reason, FAILURE) from error
        except KeyboardInterrupt as error:  # while loading: `generate` says more once there is something to say
            raise exit_with(errors, "interrupted; nothing was saved", FAILURE) from error
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error):
                raise
            reason = f"out of memory ({_first_line(error)}); use a smaller --chunk or size"
            raise exit_with(errors, reason, FAILURE) from error


def exit_with(errors: Console, message: str, code: int) -> typer.Exit:
    """The exit to raise, once the error is printed."""
    errors.print(f"[red]error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
    return typer.Exit(code)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__

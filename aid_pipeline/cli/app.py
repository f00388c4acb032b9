"""Application `aid`: its commands, its help, and its log."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from .commands import register
from .console import errors

app = typer.Typer(
    help="Sequences of images between two prompts, by attention interpolation (AID).",
    epilog='Start with:  aid interpolate "a red sphere" "a blue cube" --out runs/first',
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
register(app)


@app.callback()
def _log_warnings(
    verbose: Annotated[bool, typer.Option("--verbose", help="Also say what is chosen, and why.")] = False,
) -> None:
    from rich.logging import RichHandler

    handler = RichHandler(console=errors, show_path=False, show_time=False)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", handlers=[handler])


def main() -> None:
    """Entry point of `aid` and of `python -m aid_pipeline`."""
    app(prog_name="aid")


if __name__ == "__main__":
    main()

"""Commands of `aid`, in the order of its help."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add every command to the application; imports neither torch nor diffusers."""
    from .compare import compare
    from .diagnose import diagnose
    from .doctor import doctor
    from .evaluate import evaluate
    from .info import info, models
    from .interpolate import HELP, interpolate
    from .retime import retime

    app.command(help=HELP)(interpolate)
    for command in (models, info, doctor, evaluate, compare, diagnose, retime):
        app.command()(command)

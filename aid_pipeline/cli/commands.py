"""The commands of `aid` beside `interpolate`: evaluate, diagnose, compare, retime. Each parses, calls, and prints."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add them to the application; imports neither torch nor diffusers."""
    from .compare import compare
    from .diagnose import diagnose
    from .evaluate import evaluate
    from .retime import retime

    app.command()(evaluate)
    app.command()(compare)
    app.command()(diagnose)
    app.command()(retime)

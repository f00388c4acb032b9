"""Command `aid retime`: a finished sequence again, with any number of evenly spaced frames."""

from __future__ import annotations

from dataclasses import make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..io.formats import Formats
from ..selection.settings import Selection
from . import options as shared
from .console import errors, report_errors
from .options import command_from, needed

_FOLDER = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `aid interpolate` wrote.")]
_FRAMES = Annotated[int, typer.Option(help="How many evenly spaced frames to sample, both endpoints included.")]
_OUT = Annotated[Path | None, typer.Option(help="Folder for the files: new or empty.")]
_DISTANCE = Annotated[str, typer.Option(help="miniature, clip:FOLDER, dino:FOLDER or lpips:FILE.")]

RetimeOptions = make_dataclass(
    "RetimeOptions",
    [
        ("folder", _FOLDER),
        ("frames", _FRAMES),
        ("out", _OUT, None),
        ("distance", _DISTANCE, Selection.distance),
        *shared.FORMATS,
    ],
    frozen=True,
)


@command_from(RetimeOptions)
def retime(options: Any) -> None:
    """Sample a sequence again with any number of frames, evenly spaced by how far its images are apart.

    Measures the frames in DIR and denoises all new ones, with the same model, prompts, noise and settings.

        aid retime runs/first --frames 48 --out runs/video --fps 24

    Exit codes: 0 done, 2 bad input, 1 failure.
    """
    with report_errors(errors):
        from ..coefficients import check_frames
        from ..metrics.distances import distance as resolved
        from ..metrics.frame_folder import read_frames
        from ..request import read_request
        from ..selection.retiming import even_spacing
        from .run import generate

        destination = needed(options.out)
        check_frames(options.frames)
        before, _ = read_request(options.folder)
        there = read_frames(options.folder)
        t = even_spacing(there.images, there.coefficients, resolved(options.distance), options.frames)
        spec = replace(before.spec, frames=options.frames, coefficients=t, chunk="auto", select=None)
        formats = Formats(**{name: getattr(options, name) for name, *_ in shared.FORMATS})
        generate(replace(before, spec=spec, expected={}), destination, formats)

"""`aid retime`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from .options import needed


def retime(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `aid interpolate` wrote.")],
    frames: Annotated[int, typer.Option(help="How many evenly spaced frames to make, both ends included.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the files: new or empty.")] = None,
    distance: Annotated[str, typer.Option(help="miniature, clip:FOLDER, dino:FOLDER or lpips:FILE.")] = "miniature",
    gif: Annotated[bool, typer.Option("--gif", help="Also write sequence.gif.")] = False,
    webp: Annotated[bool, typer.Option("--webp", help="Also write sequence.webp.")] = False,
    video: Annotated[
        bool | None, typer.Option(help="Write sequence.mp4; default: if the video extra is there.")
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames per second of moving pictures.")] = 8.0,
) -> None:
    """Make a sequence again with any number of frames, evenly spaced by how far its images are apart.

    Measures the frames in DIR and denoises all new ones, with the same model, prompts, noise and settings.

        aid retime runs/first --frames 48 --out runs/video --fps 24

    Exit codes: 0 done, 2 bad input, 1 failure.
    """
    from .console import errors, report_errors

    with report_errors(errors):
        from ..coefficients import check_frames
        from ..io.formats import Formats
        from ..metrics.distances import distance as resolved
        from ..metrics.frame_folder import read_frames
        from ..request import read_request
        from ..selection.retiming import even_spacing
        from .run import generate

        destination = needed(out)
        check_frames(frames)
        before, _ = read_request(folder)
        there = read_frames(folder)
        t = even_spacing(there.images, there.coefficients, resolved(distance), frames)
        spec = replace(before.spec, frames=frames, coefficients=t, chunk="auto", select=None)
        generate(replace(before, spec=spec, expected={}), destination, Formats(gif, webp, video, fps))

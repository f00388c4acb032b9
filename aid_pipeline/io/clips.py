"""Files of a sequence of clips: a folder of PNGs and moving images for each clip, and all clips as one film."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from PIL import Image

from ..errors import OutputFolderError
from .encoders import moving_bytes, png_bytes, strip
from .output_folder import CLIP_FRAME

Clip = list[Image.Image]
File = tuple[str, Callable[[], bytes]]  # its name, and what makes its content
SHOWN = 8  # images of a clip in the contact sheet


def clip_files(clips: list[Clip], moving: Iterable[str], fps: float) -> Iterator[File]:
    """Every file of a sequence of clips, whose content is made when its turn comes.

    Clip 3 is the folder `003` of PNGs and, for a film `sequence.gif`, `003.gif`. `sequence.png` shows every clip in a
    row of its own, `SHOWN` images of it; the films show one clip after the other.

    Args:
        clips: of all frames.
        moving: names of the films.
        fps: images per second.
    """
    digits = max(3, len(str(len(clips) - 1)))
    for index, clip in enumerate(clips):
        inner = max(3, len(str(len(clip) - 1)))
        for number, image in enumerate(clip):
            yield f"{index:0{digits}d}/{number:0{inner}d}.png", partial(png_bytes, image)
    yield "sequence.png", lambda: png_bytes(contact_sheet(clips))
    yield from moving_files(clips, moving, fps)


def moving_files(clips: list[Clip], moving: Iterable[str], fps: float) -> Iterator[File]:
    """The films and moving images of every clip, as `clip_files`."""
    digits = max(3, len(str(len(clips) - 1)))
    for name in moving:
        kind = name.removeprefix("sequence.")
        for index, clip in enumerate(clips):
            yield f"{index:0{digits}d}.{kind}", partial(moving_bytes, clip, kind, fps)
        yield name, partial(moving_bytes, [image for clip in clips for image in clip], kind, fps)


def contact_sheet(clips: list[Clip]) -> Image.Image:
    """A row per clip: some of its images, evenly spaced, the first and the last among them."""
    rows = [strip([clip[place] for place in _shown(len(clip))]) for clip in clips]
    width, height = rows[0].size
    whole = Image.new("RGB", (width, height * len(rows)))
    for index, row in enumerate(rows):
        whole.paste(row, (0, index * height))
    return whole


def _shown(count: int) -> list[int]:
    shown = min(count, SHOWN)
    return [round(place * (count - 1) / max(shown - 1, 1)) for place in range(shown)]


def read_clips(folder: Path, files: Iterable[str]) -> list[Clip]:
    """The clips of a finished sequence, from the PNGs among its files.

    Raises:
        OutputFolderError: an image is missing or damaged.
    """
    clips: dict[str, Clip] = {}
    for name in sorted(name for name in files if CLIP_FRAME.fullmatch(name)):
        try:
            clips.setdefault(name.partition("/")[0], []).append(Image.open(folder / name).convert("RGB"))
        except OSError as error:
            raise OutputFolderError(f"cannot read the frames of {folder}: {error}") from error
    return list(clips.values())

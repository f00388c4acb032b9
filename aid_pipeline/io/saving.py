"""Files of a finished sequence: frames, strip and moving images, and `sequence.json` last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..atomic_files import write_bytes, write_json
from ..errors import OutputFolderError
from .clips import Clip, File, clip_files, moving_files, read_clips
from .encoders import moving_bytes, png_bytes, strip
from .formats import Formats
from .output_folder import CLIP_FRAME, FINISHED, FRAME, MOVING, OutputFolder
from .provenance import LATENTS_FILE

if TYPE_CHECKING:
    from torch import Tensor


def save_frames(
    images: list[Image.Image] | list[Clip],
    document: dict[str, Any],
    folder: str | Path | OutputFolder,
    formats: Formats,
    latents: Tensor | None = None,
    end_images: Mapping[str, Image.Image] | None = None,
) -> Path:
    """Write a sequence's files.

    Args:
        images: the frames; clips are written as `clips.clip_files` says.
        document: what `sequence.json` holds, besides how and what was saved.
        folder: where to; it may be one that was claimed before the first step.
        formats: moving images to write.
        latents: noise that was given for the sequence.
        end_images: real images at its ends, by the names of their files without ".png".

    Returns:
        The folder.

    Raises:
        OutputFolderError: the folder holds something else or cannot be written to, or a video without its extra.
    """
    moving = formats.names()
    claim = {name: document[name] for name in ("model", "arguments", "config")}
    claimed = folder if isinstance(folder, OutputFolder) else OutputFolder(folder, claim)
    files: dict[str, str] = {}

    def write(name: str, content: bytes) -> None:
        (claimed.path / name).parent.mkdir(exist_ok=True)
        write_bytes(claimed.path / name, content)
        files[name] = hashlib.sha256(content).hexdigest()

    try:
        of_clips = isinstance(images[0], list)
        written: Callable[..., Iterator[File]] = clip_files if of_clips else _image_files
        for name, content in written(images, moving, formats.fps):
            write(name, content())
        for name, image in (end_images or {}).items():
            write(f"{name}.png", png_bytes(image))
        if latents is not None:
            from safetensors.torch import save

            write(LATENTS_FILE, save({"latents": latents.detach().cpu().contiguous()}))
        claimed.finish({**document, "fps": formats.fps, "files": files, "recipe": claimed.claim})
    except BaseException:
        if claimed is not folder:
            claimed.release()
        raise
    return claimed.path


def _image_files(images: list[Image.Image], moving: list[str], fps: float) -> Iterator[File]:
    """Every file of a sequence of images, whose content is made when its turn comes."""
    digits = max(3, len(str(len(images) - 1)))
    for index, image in enumerate(images):
        yield f"{index:0{digits}d}.png", partial(png_bytes, image)
    yield "sequence.png", lambda: png_bytes(strip(images))
    for name in moving:
        yield name, partial(moving_bytes, images, _kind(name), fps)


def add_formats(folder: Path, formats: Formats) -> list[str]:
    """Write the moving images that a finished sequence lacks, or has at another speed, from its frames.

    Returns:
        Names of the files written.

    Raises:
        OutputFolderError: a frame is missing or damaged, or a video without its extra.
    """
    document = json.loads((folder / FINISHED).read_text("utf-8"))
    files = document["files"]
    wanted = formats.names()
    if formats.fps == document["fps"]:
        wanted = [name for name in wanted if name not in files]
    elif wanted:  # one speed for all that are there
        wanted = list(dict.fromkeys([*wanted, *(name for name in files if name in MOVING)]))
    if not wanted:
        return []
    for name, make in _added(folder, files, wanted, formats.fps):
        content = make()
        write_bytes(folder / name, content)
        files[name] = hashlib.sha256(content).hexdigest()
    write_json(folder / FINISHED, document | {"fps": formats.fps})
    return wanted


def _added(folder: Path, files: dict[str, str], wanted: list[str], fps: float) -> Iterator[File]:
    if any(CLIP_FRAME.fullmatch(name) for name in files):
        yield from moving_files(read_clips(folder, list(files)), wanted, fps)
        return
    try:
        images = [Image.open(folder / name).convert("RGB") for name in sorted(files) if FRAME.fullmatch(name)]
    except OSError as error:
        raise OutputFolderError(f"cannot read the frames of {folder}: {error}") from error
    for name in wanted:
        yield name, partial(moving_bytes, images, _kind(name), fps)


def _kind(name: str) -> str:
    return name.removeprefix("sequence.")

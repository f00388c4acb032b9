"""Frames of a sequence read from a folder: the one `Sequence.save` wrote, or any folder of images."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..errors import MetricsError
from ..io.output_folder import FINISHED, FRAME, UNFINISHED
from .images import as_tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class FrameSet:
    """The frames of one sequence.

    Attributes:
        name: of the folder.
        images: (m, 3, height, width) float32 in [0, 1], m >= 2.
        coefficients: t of each frame where the folder says so, else evenly spaced.
        prompts: of both endpoints and, where there is one, the guide; empty for a plain folder.
    """

    name: str
    images: Tensor
    coefficients: tuple[float, ...]
    prompts: tuple[str, ...] = ()
    guide: str | None = None


def read_frames(folder: str | Path) -> FrameSet:
    """All frames of a folder, in the order of their numbers (2.png before 10.png).

    A folder with a `sequence.json` holds the frames `000.png` ...; of any other folder every image is a frame.

    Raises:
        MetricsError: no such folder, an unfinished sequence, fewer than 2 images, a file that is no whole image,
            or one of another size than the first; the message names the file.
    """
    path = Path(folder)
    if not path.is_dir():
        raise MetricsError(f"{path} is not a folder of frames")
    if (path / UNFINISHED).exists():
        raise MetricsError(f"{path} holds an unfinished sequence; repeat the command that generates it")
    document = _document(path / FINISHED) if (path / FINISHED).is_file() else {}
    _check_images(path, document)
    files = frame_files(path)
    if len(files) < 2:
        found = f"only {files[0].name}" if files else "none"
        raise MetricsError(f"{path} must hold at least 2 frames ({', '.join(SUFFIXES)}), it holds {found}")
    images = _read_all(files)
    coefficients = tuple(float(t) for t in document.get("coefficients", ()))
    if document and len(coefficients) != len(files):
        raise MetricsError(f"{path / FINISHED} lists {len(coefficients)} frames, but {len(files)} are there")
    arguments = document.get("arguments", {})
    prompts = tuple(arguments[name] for name in ("prompt_a", "prompt_b") if name in arguments)
    guide = arguments.get("guide")
    return FrameSet(
        name=path.name or path.resolve().name,
        images=as_tensor(images),
        coefficients=coefficients or tuple(index / (len(files) - 1) for index in range(len(files))),
        prompts=prompts,
        guide=guide if isinstance(guide, str) else None,
    )


def frame_files(folder: Path) -> list[Path]:
    """The frames' files in order, without hidden ones; of a sequence's folder not its strip and moving images."""
    files = [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in SUFFIXES]
    files = [path for path in files if not _hidden(path)]
    if (folder / FINISHED).is_file():
        files = [path for path in files if FRAME.fullmatch(path.name)]
    return sorted(files, key=_natural)


def sequence_folders(folder: str | Path, out: Path | None = None) -> list[Path]:
    """The folder itself if images lie in it, else its folders that hold images, in order, without hidden ones.

    Args:
        out: where results go, whose images are no frames.

    Raises:
        MetricsError: no such folder, or no images in it nor in its folders.
    """
    path = Path(folder)
    if not path.is_dir():
        raise MetricsError(f"{path} is neither a folder of frames nor a CSV of prompts")
    if frame_files(path) or _holds_clips(path):
        return [path]
    results = None if out is None else out.resolve()
    inside = [inner for inner in path.iterdir() if inner.is_dir() and not _hidden(inner) and inner.resolve() != results]
    found = [inner for inner in inside if frame_files(inner) or (inner / UNFINISHED).exists() or _holds_clips(inner)]
    if not found:
        raise MetricsError(f"{path} holds no frames ({', '.join(SUFFIXES)}), nor do the folders in it")
    return sorted(found, key=_natural)


def _holds_clips(folder: Path) -> bool:
    """Whether it is the folder of a sequence of clips, which no image stands for."""
    return (folder / FINISHED).is_file() and "clip_length" in _document(folder / FINISHED)


def _check_images(folder: Path, document: dict[str, Any]) -> None:
    if "clip_length" in document:
        raise MetricsError(
            f"the frames in {folder} are clips of {document['clip_length']} images, which are not compared; the images "
            "of one clip can be: give one of its folders (000, ...)"
        )


def _hidden(path: Path) -> bool:
    """What file managers and systems leave beside images, such as `._000.png`."""
    return path.name.startswith(".")


def _read_all(files: list[Path]) -> list[Image.Image]:
    images: list[Image.Image] = []
    for file in files:
        try:
            with Image.open(file) as opened:
                images.append(opened.convert("RGB"))
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:  # Pillow raises all of these
            raise MetricsError(f"{file} is no whole image: {error}") from error
        if images[-1].size != images[0].size:
            (width, height), (first_width, first_height) = images[-1].size, images[0].size
            raise MetricsError(
                f"{file} is {width}x{height}, but {files[0].name} is {first_width}x{first_height}; the frames of a "
                "sequence must have one size"
            )
    return images


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise MetricsError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict) or "coefficients" not in document:
        raise MetricsError(f"{path} is not the sequence.json of a sequence")
    return document


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Numbers inside names count as numbers."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]

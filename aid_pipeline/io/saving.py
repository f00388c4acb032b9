"""A sequence's files: frames, strip, moving pictures, and `sequence.json` last."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ..errors import OutputFolderError
from ..sequence import Sequence
from .output_folder import FINISHED, FRAME, OutputFolder, write_atomically, write_json
from .provenance import FORMAT, LATENTS_FILE

logger = logging.getLogger(__name__)

MOVING = ("sequence.mp4", "sequence.gif", "sequence.webp")
STRIP_WIDTH = 16_384  # pixels; a wider strip is made smaller


def save_sequence(
    sequence: Sequence,
    folder: str | Path | OutputFolder,
    *,
    gif: bool = False,
    webp: bool = False,
    video: bool | None = None,
    fps: float = 8.0,
) -> Path:
    """`Sequence.save`; the folder may be one that was claimed before the first step."""
    check_fps(fps)
    pictures = sequence.pictures()
    video = check_video(video)
    recipe = {name: sequence.settings[name] for name in ("model", "arguments", "config")}
    claimed = folder if isinstance(folder, OutputFolder) else OutputFolder(folder, recipe)
    files: dict[str, str] = {}

    def write(name: str, content: bytes) -> None:
        write_atomically(claimed.path / name, lambda file: file.write(content))
        files[name] = hashlib.sha256(content).hexdigest()

    try:
        digits = max(3, len(str(len(pictures) - 1)))
        for index, picture in enumerate(pictures):
            write(f"{index:0{digits}d}.png", _png(picture))
        write("sequence.png", _png(strip(pictures)))
        for wanted, kind in ((video, "mp4"), (gif, "gif"), (webp, "webp")):
            if wanted:
                write(f"sequence.{kind}", moving_bytes(pictures, kind, fps))
        if sequence.latents is not None:
            from safetensors.torch import save

            write(LATENTS_FILE, save({"latents": sequence.latents.detach().cpu().contiguous()}))
        claimed.finish(document(sequence, claimed.recipe, files, fps))
    except BaseException:
        if claimed is not folder:
            claimed.release()
        raise
    return claimed.path


def add_formats(folder: Path, gif: bool, webp: bool, video: bool, fps: float) -> list[str]:
    """Write the moving pictures that a finished sequence lacks, or has at another speed, from its frames.

    Returns:
        Names of the files written.

    Raises:
        OutputFolderError: a frame is missing or damaged.
    """
    document = json.loads((folder / FINISHED).read_text("utf-8"))
    files = document["files"]
    wanted = [f"sequence.{kind}" for asked, kind in ((video, "mp4"), (gif, "gif"), (webp, "webp")) if asked]
    if fps == document["fps"]:
        wanted = [name for name in wanted if name not in files]
    elif wanted:  # one speed for all that are there
        wanted = list(dict.fromkeys([*wanted, *(name for name in files if name in MOVING)]))
    if not wanted:
        return []
    try:
        pictures = [Image.open(folder / name).convert("RGB") for name in sorted(files) if FRAME.fullmatch(name)]
    except OSError as error:
        raise OutputFolderError(f"cannot read the frames of {folder}: {error}") from error
    for name in wanted:
        content = moving_bytes(pictures, name.removeprefix("sequence."), fps)
        write_atomically(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
        files[name] = hashlib.sha256(content).hexdigest()
    write_json(folder / FINISHED, document | {"fps": fps})
    return wanted


def document(sequence: Sequence, recipe: dict[str, Any], files: dict[str, str], fps: float) -> dict[str, Any]:
    """What `sequence.json` holds."""
    return {
        "format": FORMAT,
        **sequence.settings,
        "coefficients": list(sequence.coefficients),
        "implementations": sequence.report.splitlines(),
        "timings": {name: round(seconds, 4) for name, seconds in sequence.timings.items()},
        "not_finite": list(sequence.not_finite),
        "flagged": list(sequence.flagged),
        "fps": fps,
        "files": files,
        "recipe": recipe,
    }


def strip(pictures: list[Image.Image]) -> Image.Image:
    """All frames side by side."""
    width, height = pictures[0].size
    shrink = min(1.0, STRIP_WIDTH / (width * len(pictures)))
    size = (max(1, int(width * shrink)), max(1, int(height * shrink)))
    made = Image.new("RGB", (size[0] * len(pictures), size[1]))
    for index, picture in enumerate(pictures):
        made.paste(
            picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS), (index * size[0], 0)
        )
    return made


def moving_bytes(pictures: list[Image.Image], kind: str, fps: float) -> bytes:
    """An mp4, gif or webp."""
    return video_bytes(pictures, fps) if kind == "mp4" else animation_bytes(pictures, kind, fps)


def animation_bytes(pictures: list[Image.Image], kind: str, fps: float) -> bytes:
    """A gif or webp that repeats for ever."""
    first, *rest = pictures
    options: dict[str, Any] = {"lossless": True} if kind == "webp" else {}
    return _encoded(
        lambda file: first.save(
            file, kind, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0, **options
        )
    )


def check_fps(fps: Any) -> None:
    """Raise OutputFolderError unless it is a positive, finite number."""
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < math.inf:
        raise OutputFolderError(f"fps must be a positive number, got {fps!r}")


def check_video(video: bool | None) -> bool:
    """Whether to write a video: as asked, or where it can be.

    Raises:
        OutputFolderError: asked for without the "video" extra.
    """
    missing = [name for name in ("imageio", "av") if importlib.util.find_spec(name) is None]
    if missing and video:
        raise OutputFolderError(f"sequence.mp4 needs {' and '.join(missing)}: pip install 'aid-kernels[video]'")
    if missing and video is None:
        logger.warning("no sequence.mp4: it needs %s (pip install 'aid-kernels[video]')", " and ".join(missing))
    return not missing if video is None else video


def video_bytes(pictures: list[Image.Image], fps: float) -> bytes:
    """An H.264 mp4; odd sides lose their last line, since the format counts colours in 2x2 blocks."""
    import imageio.v3 as imageio

    width, height = (side - side % 2 for side in pictures[0].size)
    frames = np.stack([np.asarray(picture.convert("RGB"))[:height, :width] for picture in pictures])
    made = imageio.imwrite(
        "<bytes>", frames, extension=".mp4", plugin="pyav", codec="libx264", fps=fps, out_pixel_format="yuv420p"
    )
    assert isinstance(made, bytes)
    return made


def _png(picture: Image.Image) -> bytes:
    return _encoded(lambda file: picture.save(file, "PNG"))


def _encoded(save: Callable[[BinaryIO], Any]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()

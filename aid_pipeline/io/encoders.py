"""Encoders of images: PNG, a strip of all frames, and moving images, as bytes."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

STRIP_WIDTH = 16_384  # pixels; a wider strip is made smaller
_CODECS = {"mp4": "libx264", "webm": "libvpx-vp9"}


def png_bytes(image: Image.Image) -> bytes:
    """A PNG."""
    return _encoded(lambda file: image.save(file, "PNG"))


def strip(images: list[Image.Image]) -> Image.Image:
    """All frames side by side."""
    width, height = images[0].size
    shrink = min(1.0, STRIP_WIDTH / (width * len(images)))
    size = (max(1, int(width * shrink)), max(1, int(height * shrink)))
    whole = Image.new("RGB", (size[0] * len(images), size[1]))
    for index, image in enumerate(images):
        part = image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
        whole.paste(part, (index * size[0], 0))
    return whole


def moving_bytes(images: list[Image.Image], kind: str, fps: float) -> bytes:
    """An mp4, webm, gif or webp."""
    return video_bytes(images, fps, kind) if kind in _CODECS else animation_bytes(images, kind, fps)


def animation_bytes(images: list[Image.Image], kind: str, fps: float) -> bytes:
    """A gif or webp that repeats for ever; webp is lossless."""
    first, *rest = images
    options: dict[str, Any] = {"lossless": True} if kind == "webp" else {}
    options |= {"append_images": rest, "duration": _durations(len(images), kind, fps), "loop": 0}
    return _encoded(lambda file: first.save(file, kind, save_all=True, **options))


def _durations(count: int, kind: str, fps: float) -> list[int]:
    """Milliseconds of each frame, whole ticks of the format that add up to `count / fps` seconds."""
    tick = 10 if kind == "gif" else 1
    ends = [round(1000 * index / (fps * tick)) for index in range(count + 1)]
    return [tick * (end - start) for start, end in itertools.pairwise(ends)]


def video_bytes(images: list[Image.Image], fps: float, kind: str = "mp4") -> bytes:
    """An H.264 mp4 or a VP9 webm; odd sides lose their last line, since the formats count colours in 2x2 blocks."""
    import imageio.v3 as imageio

    width, height = (side - side % 2 for side in images[0].size)
    file = io.BytesIO()
    with imageio.imopen(file, "w", extension=f".{kind}", plugin="pyav") as video:
        video.init_video_stream(_CODECS[kind], fps=fps, pixel_format="yuv420p")
        for image in images:
            video.write_frame(np.asarray(image.convert("RGB"))[:height, :width])
    return file.getvalue()


def _encoded(save: Callable[[BinaryIO], Any]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()

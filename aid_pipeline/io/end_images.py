"""Images at the ends of a sequence as `sequence.json` names them, in files beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import ArgumentError
from .image_files import opened_image, read_image

REAL_IMAGES = ("real_a", "real_b")  # arguments of a sequence, and names of the files without ".png"


def recorded_image(name: str, real: Any) -> Any:
    """The file that holds an image, and a digest of its pixels as they were given; an inversion is returned as it is.

    Raises:
        ImageFileError: as `read_image`.
    """
    if hasattr(real, "latents"):  # holds more than an image does
        return real
    image, _ = opened_image(real)
    digest = hashlib.sha256(f"{image.width}x{image.height}".encode() + image.tobytes()).hexdigest()
    return {"file": f"{name}.png", "pixels": digest}


def read_recorded(arguments: dict[str, Any], folder: Path) -> dict[str, Image.Image]:
    """The images of a `sequence.json`, by argument.

    Raises:
        ArgumentError: the name of a file elsewhere.
        ImageFileError: no such file, or a damaged one.
    """
    images: dict[str, Image.Image] = {}
    for name in REAL_IMAGES:
        recorded = arguments.get(name)
        if recorded is None:
            continue
        if recorded["file"] != f"{name}.png":
            raise ArgumentError(f"{name} must be in {name}.png beside sequence.json, got {recorded['file']!r}")
        images[name] = read_image(folder / recorded["file"])
    return images

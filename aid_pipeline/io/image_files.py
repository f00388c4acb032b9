"""Image files of a sequence's ends: read as 8-bit RGB, cropped and resized to the size of its frames."""

from __future__ import annotations

import io
import logging
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from ..errors import ImageFileError

logger = logging.getLogger(__name__)

# what is read, by Pillow's names (MPO is a JPEG); its other readers start programs (EPS) or know no pixels (PDF)
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
LEAST_SIDE = 8  # pixels; below, nothing can be seen
LEAST_KEPT = 0.1  # share of an image that a crop to the frames' shape must keep
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BACKGROUND = (255, 255, 255)  # behind transparent pixels


def read_image(path: str | Path) -> Image.Image:
    """The image of a file as it is meant to be seen: upright, in sRGB, 8 bits a channel, transparency on white.

    An EXIF orientation is applied, an embedded colour profile converted, 16 bits are rounded to 8. Of a camera's MPO
    file it is the first image; any other file with several images is refused.

    Raises:
        ImageFileError: no such file, no image, a damaged or animated one, pixels without a known range, or a side under
            8 pixels. The message names the file and what to do.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise ImageFileError(f"{path} is a folder; give the file of one image")
    if not path.is_file():  # a pipe would never end
        raise ImageFileError(f"{path} is no file; give the file of one image ({', '.join(FORMATS)})")
    try:
        with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as opened:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            _check(opened, path)
            opened.load()
            return _upright(opened, path)
    except UnidentifiedImageError as error:
        raise ImageFileError(f"{path} is no image that can be read; these can: {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(f"{path} has more pixels than can be read safely ({error}); make it smaller") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow raises all of these
        if isinstance(error, ImageFileError):
            raise
        raise ImageFileError(f"{path} is no whole image: {error}; save it again") from error


def fitted(image: Image.Image, width: int, height: int, name: str = "the image") -> Image.Image:
    """The image at a size: the largest part of that shape around its centre, resized by Lanczos' filter.

    Args:
        name: of the image, for the message.

    Raises:
        ImageFileError: a shape so different that less than a tenth of the image would be left.
    """
    if image.size == (width, height):
        return image
    kept = min(image.width / image.height, width / height) / max(image.width / image.height, width / height)
    if kept < LEAST_KEPT:
        raise ImageFileError(
            f"{name} is {image.width}x{image.height}; a crop to the frames' {width}x{height} would keep {kept:.1%} of "
            "it; crop it yourself"
        )
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


def as_rgb(image: Image.Image, name: str = "the image") -> Image.Image:
    """A PIL image as 8-bit sRGB, as `read_image` has it.

    Raises:
        ImageFileError: pixels without a known range, or a side under 8 pixels.
    """
    _check(image, name)
    return _upright(image, name)


def opened_image(image: Any) -> tuple[Image.Image, str]:
    """A file or a PIL image as RGB, and its name for messages.

    Raises:
        ImageFileError: as `read_image`; or a value of another kind.
    """
    if isinstance(image, Image.Image):
        return as_rgb(image), "the image"
    if isinstance(image, str | Path):
        return read_image(image), str(image)
    raise ImageFileError(f"an image must be a file or a PIL image, got {image!r:.100}")


def _check(image: Image.Image, name: str | Path) -> None:
    if min(image.size) < LEAST_SIDE:
        raise ImageFileError(
            f"{name} is {image.width}x{image.height}; an image needs at least {LEAST_SIDE} pixels a side"
        )
    count = getattr(image, "n_frames", 1)
    if count > 1 and getattr(image, "format", None) != "MPO":  # the others of an MPO are previews and other views
        raise ImageFileError(f"{name} holds {count} images (animated, or pages); save the one you mean by itself")


def _upright(image: Image.Image, name: str | Path) -> Image.Image:
    """Any mode as RGB, upright; a profile that cannot be read is ignored, as most viewers do."""
    mode = image.mode
    if mode == "I" or mode.startswith("I;16"):
        numbers = np.asarray(image)
        if numbers.min() < 0 or numbers.max() > 65535:
            raise ImageFileError(f"{name} has 32-bit pixels without a known range; save it with 8 or 16 bits")
        rgb = Image.fromarray((numbers / 257).round().astype(np.uint8)).convert("RGB")
    elif mode == "F":
        raise ImageFileError(f"{name} has floating-point pixels without a known range; save it with 8 or 16 bits")
    elif image.has_transparency_data:
        layer = image.convert("RGBA")
        rgb = Image.alpha_composite(Image.new("RGBA", image.size, (*_BACKGROUND, 255)), layer).convert("RGB")
    else:
        rgb = _in_srgb(image)
    rgb.info.pop("icc_profile", None)
    orientation = _orientation(image)
    return rgb if orientation is None else rgb.transpose(orientation)


def _orientation(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TRANSPOSE.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, SyntaxError, ValueError, TypeError, struct.error) as error:
        logger.warning("the image's EXIF is damaged, so it stays as it is stored, not turned: %s", error)
        return None


def _in_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            logger.warning("the image's colour profile cannot be read, so its colours are taken as sRGB: %s", error)
    return image.convert("RGB")

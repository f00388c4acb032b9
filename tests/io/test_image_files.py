"""Image files of every kind: read right, or refused in one line that names the file."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from aid_pipeline.errors import ImageFileError
from aid_pipeline.io.file_names import names_image_file
from aid_pipeline.io.image_files import as_rgb, fitted, read_image

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)  # wider than high, so that a missed rotation shows
COLOUR = Image.fromarray(PIXELS)
GREY = PIXELS[..., 0]


def png(image, **options):
    content = io.BytesIO()
    image.save(content, "PNG", **options)
    return content.getvalue()


def jpeg(image, **options):
    content = io.BytesIO()
    image.save(content, "JPEG", quality=100, subsampling=0, **options)
    return content.getvalue()


def saved(image, kind, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def palette_with_alpha():
    indices = np.zeros((12, 20), np.uint8)
    indices[:, 10:] = 1
    image = Image.fromarray(indices, "P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    return png(image, transparency=bytes([255, 0]))  # red shown, blue not


def half_red():
    expected = np.full((12, 20, 3), 255, np.uint8)
    expected[:, :10] = (255, 0, 0)
    return expected


def rgba():
    alpha = np.full((12, 20, 1), 255, np.uint8)
    alpha[:, 10:] = 0
    return png(Image.fromarray(np.concatenate([PIXELS, alpha], axis=2)))


def shown_left():
    expected = PIXELS.copy()
    expected[:, 10:] = 255
    return expected


def grey16():
    return png(Image.fromarray(GREY.astype(np.uint16) * 257))


SERVED = {
    "png": (png(COLOUR), PIXELS),
    "grey": (png(Image.fromarray(GREY)), np.repeat(GREY[..., None], 3, axis=2)),
    "one bit": (png(Image.fromarray(GREY > 127)), np.repeat(((GREY > 127) * np.uint8(255))[..., None], 3, axis=2)),
    "16-bit": (grey16(), np.repeat(GREY[..., None], 3, axis=2)),
    "palette with alpha": (palette_with_alpha(), half_red()),
    "alpha": (rgba(), shown_left()),
    "bmp": (saved(COLOUR, "BMP"), PIXELS),
    "tiff": (saved(COLOUR, "TIFF"), PIXELS),
    "webp": (saved(COLOUR, "WEBP", lossless=True), PIXELS),
    "tiff, rotated": (saved(COLOUR, "TIFF", exif=exif(6)), np.rot90(PIXELS, -1)),
    "png, mirrored": (png(COLOUR, exif=exif(2)), PIXELS[:, ::-1]),
    "png, rotated": (png(COLOUR, exif=exif(8)), np.rot90(PIXELS)),
    "bad profile": (png(COLOUR, icc_profile=b"no profile"), PIXELS),
    "bad exif": (png(COLOUR, exif=b"Exif\x00\x00no tags"), PIXELS),
}


@pytest.mark.parametrize("kind", SERVED)
def test_served_as_it_is_meant_to_be_seen(kind, tmp_path):
    content, expected = SERVED[kind]
    path = tmp_path / "image"  # what it is, its bytes say
    path.write_bytes(content)
    image = read_image(path)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), expected)


def smooth():
    x, y = np.meshgrid(np.linspace(40, 200, 20), np.linspace(60, 180, 12))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8))


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("jpeg", jpeg(smooth())),
        ("rotated", jpeg(smooth().transpose(Image.Transpose.ROTATE_90), exif=exif(6))),
        ("cmyk", jpeg(smooth().convert("CMYK"))),
        ("profile", jpeg(smooth(), icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())),
        ("mpo", saved(smooth(), "MPO", save_all=True, append_images=[COLOUR], quality=100)),
    ],
)
def test_jpeg_of_every_kind(kind, content, tmp_path):
    (tmp_path / "image").write_bytes(content)
    image = read_image(tmp_path / "image")
    assert image.mode == "RGB"
    assert image.size == (20, 12)
    difference = np.asarray(image).astype(int) - np.asarray(smooth()).astype(int)
    assert np.abs(difference).mean() < 4


def test_an_embedded_profile_is_converted(tmp_path):
    """sRGB with red and blue swapped in the profile: the colours meant are those in reverse."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")
    (tmp_path / "image.png").write_bytes(png(smooth(), icc_profile=swapped))
    read = np.asarray(read_image(tmp_path / "image.png")).astype(int)
    assert np.abs(read - np.asarray(smooth()).astype(int)[..., ::-1]).max() <= 3


def frames(kind, **options):
    return saved(COLOUR, kind, save_all=True, append_images=[COLOUR.rotate(90), COLOUR.rotate(180)], **options)


def _of_sides(pixels):
    """A BMP that says so in its header."""
    content = saved(COLOUR, "BMP")
    return content[:18] + pixels.to_bytes(4, "little") * 2 + content[26:]


REFUSED = {
    "text": (b"a red sphere\n", "no image that can be read"),
    "empty": (b"", "no image that can be read"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image that can be read"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image that can be read"),
    "truncated png": (png(COLOUR)[:-300], "no whole image"),
    "truncated jpeg": (jpeg(COLOUR)[:-300], "no whole image"),
    "header alone": (png(COLOUR)[:40], "no image that can be read"),
    "animated gif": (frames("GIF"), "holds 3 images"),
    "animated png": (frames("PNG"), "holds 3 images"),
    "pages": (frames("TIFF"), "holds 3 images"),
    "1x1": (png(Image.new("RGB", (1, 1))), "at least 8 pixels"),
    "float": (saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "without a known range"),
    "32-bit": (saved(Image.fromarray(GREY.astype(np.int32) * 70000), "TIFF"), "without a known range"),
    "huge": (
        b"BM" + saved(COLOUR, "BMP")[2:18] + (200_000).to_bytes(4, "little") * 2 + saved(COLOUR, "BMP")[26:],
        "pixels",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_in_one_line_that_names_the_file(kind, tmp_path):
    content, said = REFUSED[kind]
    (tmp_path / "image.png").write_bytes(content)
    with pytest.raises(ImageFileError, match=said) as raised:
        read_image(tmp_path / "image.png")
    assert "image.png" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "said"), [(".", "folder"), ("none.png", "no file"), ("https://host/a.png", "no file")]
)
def test_what_is_no_file_is_refused(name, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageFileError, match=said):
        read_image(name)


def test_crop_keeps_the_centre_and_the_shape():
    bands = np.zeros((10, 40, 3), np.uint8)
    bands[:, 15:25] = 255  # the centre square of height 10
    assert np.asarray(fitted(Image.fromarray(bands), 10, 10)).min() == 255
    assert fitted(Image.fromarray(bands), 32, 16).size == (32, 16)
    same = Image.fromarray(bands)
    np.testing.assert_array_equal(np.asarray(fitted(same, 40, 10)), bands)


def test_a_crop_that_would_keep_almost_nothing_is_refused():
    with pytest.raises(ImageFileError, match=r"strip\.png is 20000x10; a crop to the frames' 64x64 would keep 0.1%"):
        fitted(Image.new("RGB", (20_000, 10)), 64, 64, "strip.png")


def test_a_given_image_is_read_alike():
    np.testing.assert_array_equal(np.asarray(as_rgb(COLOUR)), PIXELS)
    with pytest.raises(ImageFileError, match="at least 8 pixels"):
        as_rgb(Image.new("RGB", (4, 4)))


def test_names_of_image_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a red sphere").write_bytes(b"")
    assert all(names_image_file(text) for text in ("cat.png", "~/Photos/IMG_1.HEIC", "a red sphere"))
    assert not any(names_image_file(text) for text in ("a cat", "a jpeg of a cat", "x" * 5000, "a\0b", "."))


def test_a_profile_that_cannot_be_read_is_said(tmp_path, caplog):
    path = tmp_path / "image.png"
    path.write_bytes(png(COLOUR, icc_profile=b"no profile"))
    assert np.array_equal(np.asarray(read_image(path)), PIXELS)
    assert "colour profile" in caplog.text

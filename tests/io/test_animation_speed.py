"""Speed of moving images: delays that add up to what was asked for, or one typed line."""

import io

import pytest
from PIL import Image, ImageSequence

from aid_pipeline.errors import OutputFolderError
from aid_pipeline.io.encoders import animation_bytes
from aid_pipeline.io.formats import Formats

FRAMES = 30


def milliseconds(kind, fps):
    images = [Image.new("RGB", (8, 8), (index * 8, 255 - index * 8, index)) for index in range(FRAMES)]
    film = Image.open(io.BytesIO(animation_bytes(images, kind, fps)))
    delays = []
    for frame in ImageSequence.Iterator(film):
        frame.load()
        delays.append(frame.info["duration"])
    return delays


@pytest.mark.parametrize("fps", [1, 7.5, 8, 12, 24, 30, 33, 48, 50])
def test_a_gif_lasts_as_long_as_was_asked_for(fps):
    delays = milliseconds("gif", fps)
    assert len(delays) == FRAMES
    assert abs(sum(delays) - 1000 * FRAMES / fps) <= 5
    assert max(delays) - min(delays) <= 10


@pytest.mark.parametrize("fps", [8, 30, 60, 144])
def test_a_webp_lasts_as_long_as_was_asked_for(fps):
    assert abs(sum(milliseconds("webp", fps)) - 1000 * FRAMES / fps) <= 1


@pytest.mark.parametrize("fps", [50.1, 60, 0.001])
def test_a_speed_that_a_gif_cannot_have_is_refused(fps):
    with pytest.raises(OutputFolderError, match="gif"):
        Formats(gif=True, fps=fps)
    Formats(webp=True, fps=fps)

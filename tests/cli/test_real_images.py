"""`aid interpolate --real-a --real-b`: from one image file to another, and the same again."""

import json

import numpy as np
import pytest
from PIL import Image

from aid_pipeline import Keyframe, interpolate, invert, load_model

from ..support.command_line import aid, frames_of

SIZES = ["--height", "16", "--width", "16", "--frames", "4", "--num-inference-steps", "3"]


@pytest.fixture
def images(tmp_path):
    paths = []
    for seed, size in ((1, (24, 40)), (2, (16, 16))):
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{seed}.png")
        Image.fromarray(pixels).save(paths[-1])
    return [str(path) for path in paths]


def pixels(path):
    return np.asarray(Image.open(path))


def test_from_image_to_image_and_the_same_again(model, images, tmp_path):
    real = ["--real-a", images[0], "--real-b", images[1], "--strength", "0.7"]
    command = ["interpolate", *real, "--model", model, *SIZES, "--no-video", "--out", str(tmp_path / "out")]
    assert aid(*command).exit_code == 0
    document = json.loads((tmp_path / "out" / "sequence.json").read_text())
    assert document["format"] == 2
    assert document["arguments"]["real_a"]["file"] == "real_a.png"
    assert document["arguments"]["strength"] == 0.7
    assert pixels(tmp_path / "out" / "real_a.png").shape == (16, 16, 3)
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "real_b.png"), pixels(images[1]))
    assert len(frames_of(tmp_path / "out")) == 4

    assert "nothing to do" in aid(*command).output.replace("\n", " ")
    again = aid("interpolate", "--from", str(tmp_path / "out"), "--out", str(tmp_path / "again"))
    assert again.exit_code == 0, again.output
    assert json.loads((tmp_path / "again" / "sequence.json").read_text())["files"] == document["files"]


def test_the_files_stay_and_one_end_may_be_text(model, images, tmp_path):
    real = ["a", "--real-b", images[1], "b", "--keep-ends", "file", "--path", "noised"]
    result = aid("interpolate", *real, "--model", model, *SIZES, "--no-video", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "003.png"), pixels(images[1]))
    document = json.loads((tmp_path / "out" / "sequence.json").read_text())
    assert "real_a" not in document["arguments"]
    assert not (tmp_path / "out" / "real_a.png").exists()


def test_texts_alone_have_the_format_they_had(finished):
    document = json.loads((finished / "sequence.json").read_text())
    assert document["format"] == 1
    assert not {"real_a", "keep_ends", "path", "strength"} & document["arguments"].keys()


def test_other_pixels_are_another_sequence(model, images, tmp_path):
    command = ["interpolate", "a", "--real-b", images[1], "b", "--path", "noised", "--model", model, *SIZES]
    command += ["--no-video", "--out", str(tmp_path / "out")]
    assert aid(*command).exit_code == 0
    Image.new("RGB", (16, 16)).save(images[1])
    result = aid(*command)
    assert result.exit_code == 2
    assert "not empty" in result.stderr or "another" in result.stderr


def test_an_inversion_of_python_is_said_not_to_be_recorded(model, images, tmp_path):
    pipe = load_model(model, device="cpu")
    size = {"height": 16, "width": 16}
    end = Keyframe("a", invert(pipe, images[1], "a", 3, path="noised", **size))
    interpolate(pipe, end, "b", frames=3, num_inference_steps=3, **size).save(tmp_path / "first", video=False)
    result = aid("interpolate", "--from", str(tmp_path / "first"), "--out", str(tmp_path / "again"))
    assert result.exit_code == 2
    assert "does not hold real_a" in result.stderr

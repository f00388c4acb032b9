"""Reading frames: order, sizes, damaged files; the error names the file."""

import json

import pytest
import torch
from PIL import Image

from aid_pipeline.errors import MetricsError
from aid_pipeline.metrics.frame_folder import read_frames, sequence_folders
from aid_pipeline.metrics.images import IMAGENET_MEAN, as_tensor, imagenet_normalised, through_jpeg

from ..support.images import moving_square, write_frames


def test_numbers_count_as_numbers(tmp_path):
    images = [Image.new("RGB", (8, 8), (index, 0, 0)) for index in range(12)]
    frames = read_frames(write_frames(tmp_path / "twelve", images))
    assert (frames.images[:, 0, 0, 0] * 255).round().tolist() == list(range(12))
    assert frames.coefficients == pytest.approx([index / 11 for index in range(12)])
    assert frames.name == "twelve"
    assert frames.prompts == ()


def test_hidden_files_and_odd_names(tmp_path):
    """What a file manager left is no frame; a superscript is no number that Python reads."""
    write_frames(tmp_path, moving_square(3))
    (tmp_path / "._frame0.png").write_bytes(b"not an image")
    (tmp_path / "frame0.png").rename(tmp_path / "frame\u00b20.png")
    assert len(read_frames(tmp_path).images) == 3


def test_a_sequence_folder_without_its_strip(tmp_path):
    for index, image in enumerate(moving_square(3)):
        image.save(tmp_path / f"{index:03d}.png")
    Image.new("RGB", (96, 32)).save(tmp_path / "sequence.png")
    document = {"coefficients": [0, 0.4, 1], "arguments": {"prompt_a": "a", "prompt_b": "b", "guide": "c"}}
    (tmp_path / "sequence.json").write_text(json.dumps(document))
    frames = read_frames(tmp_path)
    assert len(frames.images) == 3
    assert frames.coefficients == (0, 0.4, 1)
    assert (frames.prompts, frames.guide) == (("a", "b"), "c")
    (tmp_path / "002.png").unlink()
    with pytest.raises(MetricsError, match=r"lists 3 frames, but 2 are there"):
        read_frames(tmp_path)


def test_mixed_sizes(tmp_path):
    write_frames(tmp_path, moving_square(3))
    Image.new("RGB", (32, 16)).save(tmp_path / "frame9.png")
    with pytest.raises(MetricsError, match=r"frame9\.png is 32x16, but frame0\.png is 32x32"):
        read_frames(tmp_path)


def test_a_damaged_file(tmp_path):
    write_frames(tmp_path, moving_square(3))
    whole = (tmp_path / "frame1.png").read_bytes()
    (tmp_path / "frame1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MetricsError, match=r"frame1\.png is no whole image"):
        read_frames(tmp_path)
    (tmp_path / "frame1.png").write_bytes(b"not an image")
    with pytest.raises(MetricsError, match=r"frame1\.png is no whole image"):
        read_frames(tmp_path)


def test_too_few(tmp_path):
    with pytest.raises(MetricsError, match="is not a folder"):
        read_frames(tmp_path / "none")
    with pytest.raises(MetricsError, match="it holds none"):
        read_frames(tmp_path)
    write_frames(tmp_path, moving_square(1))
    with pytest.raises(MetricsError, match=r"only frame0\.png"):
        read_frames(tmp_path)


def test_an_unfinished_sequence(tmp_path):
    write_frames(tmp_path, moving_square(3))
    (tmp_path / ".aid-unfinished.json").write_text("{}")
    with pytest.raises(MetricsError, match="unfinished"):
        read_frames(tmp_path)


def test_a_folder_of_sequences(tmp_path):
    for name in ("10", "9"):
        write_frames(tmp_path / name, moving_square(3))
    (tmp_path / "notes").mkdir()
    assert [folder.name for folder in sequence_folders(tmp_path)] == ["9", "10"]
    assert sequence_folders(tmp_path / "9") == [tmp_path / "9"]
    write_frames(tmp_path / ".cache", moving_square(2))
    assert [folder.name for folder in sequence_folders(tmp_path, tmp_path / "10")] == ["9"]
    with pytest.raises(MetricsError, match="holds no frames"):
        sequence_folders(tmp_path / "notes")


def test_preparation_of_the_papers_frames():
    images = as_tensor(moving_square(2))
    jpeg = through_jpeg(images)
    assert jpeg.shape == images.shape
    assert 0.001 < (jpeg - images).abs().mean() < 0.05
    grey = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    # LPIPS maps x to 2 x - 1, which must give back the normalised image: 0 here
    assert (2 * imagenet_normalised(grey) - 1).abs().max() < 1e-6

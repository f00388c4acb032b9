"""A sequence's files, read back."""

import hashlib
import json

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from aid_pipeline import AIDConfig, interpolate
from aid_pipeline.errors import OutputFolderError
from aid_pipeline.io import encoders, formats

from ..support.families import FAMILIES
from .test_output_folder import files_no_larger_than

SIZE = {"height": 16, "width": 16, "num_inference_steps": 2}


@pytest.fixture(scope="module")
def sequence():
    return interpolate(FAMILIES["sd1"].pipeline(), "a", "b", frames=4, config=AIDConfig(), **SIZE)


def test_everything_is_written_and_readable(sequence, tmp_path):
    folder = sequence.save(tmp_path / "out", gif=True, webp=True, fps=5)
    moving = ["sequence.gif", "sequence.mp4", "sequence.webp"]
    frames = ["000.png", "001.png", "002.png", "003.png"]
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted([*frames, *moving, "sequence.json", "sequence.png"])
    for name, image in zip(frames, sequence.images, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(folder / name)), np.asarray(image))
    strip = np.asarray(Image.open(folder / "sequence.png"))
    np.testing.assert_array_equal(strip, np.concatenate([np.asarray(image) for image in sequence.images], axis=1))
    assert Image.open(folder / "sequence.webp").n_frames == 4
    assert imageio.imread(folder / "sequence.mp4", plugin="pyav").shape == (4, 16, 16, 3)
    assert Image.open(folder / "sequence.gif").info["duration"] == 200


def test_webp_is_lossless_and_in_order(sequence, tmp_path):
    sequence.save(tmp_path, webp=True, video=False)
    with Image.open(tmp_path / "sequence.webp") as moving:
        for index, image in enumerate(sequence.images):
            moving.seek(index)
            np.testing.assert_array_equal(np.asarray(moving.convert("RGB")), np.asarray(image))


def test_the_json_holds_what_makes_the_sequence_again(sequence, tmp_path):
    sequence.save(tmp_path)
    document = json.loads((tmp_path / "sequence.json").read_text())
    assert document["arguments"]["prompt_b"] == "b"
    assert document["coefficients"] == list(sequence.coefficients)
    assert document["config"] == {"mode": "outer", "fuse_self": True, "warmup": 0.5, "impl": "auto"}
    assert document["versions"]["torch"] == torch.__version__
    assert document["implementations"][0] == "8 layers: sdpa 8"
    assert document["timings"].keys() == {"encode", "denoise", "decode", "total"}
    assert document["model"]["scheduler"]["class"] == "DDIMScheduler"
    for name, digest in document["files"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


def test_given_latents_are_saved(tmp_path):
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    made = interpolate(FAMILIES["sd1"].pipeline(), "a", "b", frames=3, latents=latents, **SIZE)
    made.save(tmp_path, video=False)
    assert torch.equal(load_file(tmp_path / "latents.safetensors")["latents"], latents)


def test_tensors_and_arrays_save_the_same_images(sequence, tmp_path):
    for output_type in ("pt", "np"):
        made = interpolate(FAMILIES["sd1"].pipeline(), "a", "b", frames=4, output_type=output_type, **SIZE)
        made.save(tmp_path / output_type, video=False)
        for name in ("000.png", "002.png"):
            saved = np.asarray(Image.open(tmp_path / output_type / name))
            np.testing.assert_array_equal(saved, np.asarray(sequence.images[int(name[:3])]))


def test_latents_are_not_images(tmp_path):
    made = interpolate(FAMILIES["sd1"].pipeline(), "a", "b", frames=2, output_type="latent", **SIZE)
    with pytest.raises(OutputFolderError, match="latents cannot be saved"):
        made.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_second_save_into_the_same_folder_is_refused(sequence, tmp_path):
    sequence.save(tmp_path, video=False)
    with pytest.raises(OutputFolderError, match="finished sequence"):
        sequence.save(tmp_path, video=False)


def test_a_full_disk_leaves_whole_files_and_the_next_save_succeeds(tmp_path):
    made = interpolate(FAMILIES["sd1"].pipeline(), "a", "b", frames=10, **SIZE)
    with files_no_larger_than(4500), pytest.raises(OSError, match="File too large"):  # the strip does not fit
        made.save(tmp_path)
    saved = sorted(path.name for path in tmp_path.glob("[!.]*"))
    assert saved == [f"{index:03d}.png" for index in range(10)]
    for name in saved:
        Image.open(tmp_path / name).load()
    made.save(tmp_path)
    assert (tmp_path / "sequence.json").exists()


def test_a_video_without_the_extra(sequence, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None if name == "av" else name)
    with pytest.raises(OutputFolderError, match=r"needs av: pip install 'aid-kernels\[video\]'"):
        sequence.save(tmp_path / "asked", video=True)
    assert not (tmp_path / "asked").exists()
    sequence.save(tmp_path / "not asked")
    assert "no sequence.mp4" in caplog.text
    assert not (tmp_path / "not asked" / "sequence.mp4").exists()


def test_a_very_wide_strip_is_made_smaller():
    images = [Image.new("RGB", (1024, 512), (index, 0, 0)) for index in range(64)]
    strip = encoders.strip(images)
    assert strip.size == (64 * 256, 128)
    assert strip.getpixel((63 * 256 + 10, 5)) == (63, 0, 0)


def test_odd_sizes_make_a_video():
    images = [Image.new("RGB", (17, 23), (200, 0, 0))] * 3
    made = imageio.imread(encoders.video_bytes(images, 8), plugin="pyav", extension=".mp4")
    assert made.shape == (3, 22, 16, 3)

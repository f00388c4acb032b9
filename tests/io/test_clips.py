"""Files of a sequence of clips, read back."""

import json

import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image

from aid_pipeline import interpolate
from aid_pipeline.errors import MetricsError, OutputFolderError
from aid_pipeline.io.formats import Formats
from aid_pipeline.io.output_folder import UNFINISHED, OutputFolder
from aid_pipeline.io.saving import add_formats
from aid_pipeline.metrics.frame_folder import read_frames

from ..support.video_pipelines import CALL, fresh

A, B = "a red sphere", "the blue cube"


@pytest.fixture(scope="module")
def sequence():
    return interpolate(fresh("ltx"), A, B, frames=3, **CALL)


def pixels(path):
    return np.asarray(Image.open(path))


def test_every_clip_has_a_folder_and_a_film_and_all_have_one(sequence, tmp_path):
    folder = sequence.save(tmp_path / "out", gif=True, webm=True, fps=5)
    clips = sequence.pil_clips()
    length = sequence.clip_length
    assert len(clips) == 3
    for index, clip in enumerate(clips):
        assert sorted(path.name for path in (folder / f"{index:03d}").iterdir()) == [f"{i:03d}.png" for i in range(5)]
        for number, image in enumerate(clip):
            np.testing.assert_array_equal(pixels(folder / f"{index:03d}" / f"{number:03d}.png"), np.asarray(image))
        assert Image.open(folder / f"{index:03d}.gif").n_frames == length
        for kind in ("mp4", "webm"):
            assert imageio.imread(folder / f"{index:03d}.{kind}", plugin="pyav").shape == (length, 32, 32, 3)
    for kind in ("mp4", "webm"):
        assert imageio.imread(folder / f"sequence.{kind}", plugin="pyav").shape == (3 * length, 32, 32, 3)
    with Image.open(folder / "sequence.gif") as film:
        assert film.n_frames == 3 * length
        film.seek(2 * length)
        assert film.info["duration"] == 200
    sheet = pixels(folder / "sequence.png")
    np.testing.assert_array_equal(sheet[32:64, :32], np.asarray(clips[1][0]))
    np.testing.assert_array_equal(sheet[64:, -32:], np.asarray(clips[2][-1]))
    document = json.loads((folder / "sequence.json").read_text())
    assert document["clip_length"] == length == 5
    assert document["arguments"]["num_frames"] == 5
    assert set(document["files"]) == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    } - {"sequence.json"}


def test_only_images_where_no_film_is_asked_for(sequence, tmp_path):
    folder = sequence.save(tmp_path, video=False)
    assert sorted(path.name for path in folder.iterdir()) == ["000", "001", "002", "sequence.json", "sequence.png"]


def test_arrays_save_the_same_images(sequence, tmp_path):
    made = interpolate(fresh("ltx"), A, B, frames=3, output_type="np", **CALL)
    made.save(tmp_path, video=False)
    np.testing.assert_array_equal(pixels(tmp_path / "001" / "004.png"), np.asarray(sequence.images[1][4]))


def test_films_are_added_to_a_finished_sequence(sequence, tmp_path):
    sequence.save(tmp_path, video=False)
    added = add_formats(tmp_path, Formats(gif=True, video=False))
    assert added == ["sequence.gif"]
    assert Image.open(tmp_path / "002.gif").n_frames == 5
    assert {"000.gif", "sequence.gif"} <= set(json.loads((tmp_path / "sequence.json").read_text())["files"])
    (tmp_path / "001" / "003.png").unlink()
    with pytest.raises(OutputFolderError, match=r"003\.png"):
        add_formats(tmp_path, Formats(webp=True, video=False))


def test_what_wants_images_says_that_frames_are_clips(sequence, tmp_path):
    with pytest.raises(OutputFolderError, match="pil_clips"):
        sequence.pil_images()
    sequence.save(tmp_path, video=False)
    with pytest.raises(MetricsError, match="clips of 5 images"):
        read_frames(tmp_path)
    assert read_frames(tmp_path / "000").images.shape == (5, 3, 32, 32)


def test_an_unfinished_run_starts_over_and_leaves_nothing_of_it(sequence, tmp_path):
    claim = {"prompt_a": "a"}
    folder = OutputFolder(tmp_path / "out", claim)
    for name in ("000/000.png", "007/000.png", "007.gif"):
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_bytes(b"x")
    assert folder.saved() == ["000/000.png", "007.gif", "007/000.png"]
    folder.release()
    again = OutputFolder(tmp_path / "out", claim)
    assert again.saved() == []
    assert [path.name for path in again.path.iterdir()] == [UNFINISHED]
    (again.path / "003").mkdir()
    again.release()
    assert list((tmp_path / "out").iterdir()) == []


def test_other_files_in_a_clip_s_folder_are_never_touched(tmp_path):
    OutputFolder(tmp_path, {})
    (tmp_path / "000").mkdir()
    (tmp_path / "000" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputFolderError, match=r"000/thesis\.txt"):
        OutputFolder(tmp_path, {})
    assert (tmp_path / "000" / "thesis.txt").read_text() == "mine"


def test_latents_of_clips_are_no_images(tmp_path):
    made = interpolate(fresh("ltx"), A, B, frames=2, output_type="latent", **CALL)
    assert made.clip_length is None
    with pytest.raises(OutputFolderError, match="latents"):
        made.save(tmp_path / "out")

"""`aid interpolate` with a video pipeline: clips, films, and the same again."""

import json

import pytest

from aid_pipeline.io.output_folder import OutputFolder

from ..support.command_line import aid
from ..support.video_pipelines import fresh

PROMPTS = ["a red sphere", "the blue cube"]
OPTIONS = ["--height", "32", "--width", "32", "--frames", "3", "--num-inference-steps", "2"]
STOCK = ["--stock", "num_frames=5", "--stock", "max_sequence_length=24"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("video model")
    fresh("wan").save_pretrained(folder)
    return str(folder)


def files(folder):
    return json.loads((folder / "sequence.json").read_text())["files"]


def test_clips_again_bit_for_bit_and_further_films(model, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    command = ["interpolate", *PROMPTS, "--model", model, "--out", str(first), *OPTIONS, *STOCK, "--gif", "--no-video"]
    result = aid(*command)
    assert result.exit_code == 0, result.output
    assert "3 clips of 5 images in" in result.output
    assert json.loads((first / "sequence.json").read_text())["clip_length"] == 5
    assert {"000/000.png", "002/004.png", "001.gif", "sequence.gif"} <= files(first).keys()

    result = aid("interpolate", "--from", str(first), "--out", str(again))
    assert result.exit_code == 0, result.output
    assert files(again) == files(first)

    result = aid(*command, "--webm", "--fps", "4")
    assert "added sequence.webm, sequence.gif" in result.output.replace("\n", " ")
    assert {"000.webm", "sequence.webm"} <= files(first).keys()


def test_what_measures_images_refuses_a_folder_of_clips(model, tmp_path):
    out = tmp_path / "out"
    assert aid("interpolate", *PROMPTS, "--model", model, "--out", str(out), *OPTIONS, *STOCK).exit_code == 0
    commands = (["evaluate", str(out)], ["evaluate", str(tmp_path)], ["retime", str(out), "--frames", "5"])
    for index, command in enumerate(commands):
        result = aid(*command, "--out", str(tmp_path / f"result {index}"))
        assert result.exit_code == 2, (command, result.output)
        assert "clips of 5 images" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize("more", [["--select", "dynamic"], ["--stock", "num_videos_per_prompt=2"]])
def test_refusals_are_one_line_and_leave_nothing(model, tmp_path, more):
    out = tmp_path / "out"
    result = aid("interpolate", *PROMPTS, "--model", model, "--out", str(out), *OPTIONS, *STOCK, *more)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert not out.exists()


def test_an_interrupted_run_says_which_clips_are_whole(tmp_path):
    folder = OutputFolder(tmp_path, {})
    (tmp_path / "000").mkdir()
    (tmp_path / "000" / "000.png").write_bytes(b"x")
    assert folder.saved() == ["000/000.png"]

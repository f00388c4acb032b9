"""`aid interpolate`: a sequence, the same command again, the moving images that a folder lacks."""

import hashlib
import json

from PIL import Image

from ..support.command_line import aid, command, frames_of


def test_repeating_a_finished_command_has_nothing_to_do(model, tmp_path):
    assert aid(*command(model, tmp_path / "out")).exit_code == 0
    before = (tmp_path / "out" / "sequence.json").stat().st_mtime_ns
    result = aid(*command(model, tmp_path / "out"))
    assert result.exit_code == 0
    assert "already holds this very sequence" in result.output
    assert (tmp_path / "out" / "sequence.json").stat().st_mtime_ns == before
    result = aid(*command(model, tmp_path / "out", "--seed", "9"))
    assert result.exit_code == 2
    assert "finished sequence" in result.stderr


def test_a_finished_sequence_gets_the_formats_that_it_lacks(model, tmp_path):
    out = tmp_path / "out"
    assert aid(*command(model, out, "--no-video")).exit_code == 0
    frames = frames_of(out)
    result = aid(*command(model, out, "--no-video", "--gif"))
    assert result.exit_code == 0, result.output
    assert "added sequence.gif" in result.output.replace("\n", " ")
    document = json.loads((out / "sequence.json").read_text())
    assert hashlib.sha256((out / "sequence.gif").read_bytes()).hexdigest() == document["files"]["sequence.gif"]
    with Image.open(out / "sequence.gif") as moving:
        assert moving.n_frames == len(frames) == 4
        assert moving.info["duration"] == 120  # 8 a second, in hundredths
    result = aid(*command(model, out, "--no-video", "--gif", "--webp", "--fps", "4"))
    assert "added sequence.gif, sequence.webp" in result.output.replace("\n", " ")
    with Image.open(out / "sequence.gif") as moving:
        assert moving.info["duration"] == 250
    assert json.loads((out / "sequence.json").read_text())["fps"] == 4
    assert frames_of(out) == frames
    assert aid("interpolate", "--from", str(out), "--out", str(tmp_path / "again")).exit_code == 0
    again = json.loads((tmp_path / "again" / "sequence.json").read_text())
    assert again["files"] == json.loads((out / "sequence.json").read_text())["files"]


def test_frames_follow_from_coefficients(model, tmp_path):
    sizes = ["--height", "16", "--width", "16", "--num-inference-steps", "1", "--no-video"]
    options = ["--model", model, "--out", str(tmp_path / "out"), "--coefficients", "0,0.3,1", *sizes]
    result = aid("interpolate", "a", "b", *options)
    assert result.exit_code == 0, result.output
    assert len(frames_of(tmp_path / "out")) == 3


def test_a_finished_folder_of_an_earlier_version_is_recognised(model, tmp_path):
    """Its claim leaves out what is None or a default."""
    assert aid(*command(model, tmp_path / "out", "--no-video")).exit_code == 0
    path = tmp_path / "out" / "sequence.json"
    document = json.loads(path.read_text())
    arguments = document["recipe"]["arguments"]
    document["recipe"]["arguments"] = {name: value for name, value in arguments.items() if value is not None}
    del document["recipe"]["config"]["impl"]
    path.write_text(json.dumps(document))
    assert "nothing to do" in aid(*command(model, tmp_path / "out", "--no-video")).output

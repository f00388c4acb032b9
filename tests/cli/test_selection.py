"""`aid interpolate --select`: recorded, repeated bit for bit, and refused in one line."""

import json

import pytest

from aid_pipeline import Selection, interpolate, load_model

from ..selection.test_run import colours
from ..support.command_line import aid, command, frames_of
from ..support.towers import miniature_folder


def test_a_selected_sequence_and_the_same_again(model, tmp_path):
    tower = miniature_folder(tmp_path / "tower")
    options = ["--select", "dynamic", "--distance", f"miniature:{tower}", "--explore", "7", "--seed", "1,2"]
    result = aid(*command(model, tmp_path / "first", *options, "--frames", "5"))
    assert result.exit_code == 0, result.output
    assert "chosen by dynamic selection" in result.output
    assert "7 frames denoised" in result.output
    document = json.loads((tmp_path / "first" / "sequence.json").read_text())
    assert document["arguments"]["select"]["explore"] == 7
    assert document["selection"]["coefficients"] == document["coefficients"]
    assert len(document["selection"]["explored_distances"]) == 6

    result = aid("interpolate", "--from", str(tmp_path / "first"), "--out", str(tmp_path / "again"))
    assert result.exit_code == 0, result.output
    again = json.loads((tmp_path / "again" / "sequence.json").read_text())
    assert again["files"] == document["files"]
    assert again["selection"] == document["selection"]


def test_a_distance_from_python_leaves_the_coefficients(model, tmp_path):
    pipe = load_model(model, device="cpu")
    sequence = interpolate(
        pipe, "a", "b", frames=4, height=16, width=16, num_inference_steps=2, select=Selection(distance=colours)
    )
    sequence.save(tmp_path / "first", video=False)
    result = aid("interpolate", "--from", str(tmp_path / "first"), "--out", str(tmp_path / "again"))
    assert result.exit_code == 0, result.output
    again = json.loads((tmp_path / "again" / "sequence.json").read_text())
    assert again["coefficients"] == list(sequence.coefficients)
    assert len(frames_of(tmp_path / "again")) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--select", "best"], "dynamic, bayes"),
        (["--explore", "9"], "add --select dynamic"),
        (["--per-round", "8"], "add --select dynamic"),
        (["--select", "dynamic", "--per-round", "0"], "per_round must be"),
        (["--select", "dynamic", "--explore", "3"], "explore at least 4"),
        (["--select", "dynamic", "--beta", "3,3"], "leave coefficients out"),
        (["--select", "dynamic", "--distance", "ssim"], "must be one of miniature"),
        (["--select", "dynamic", "--distance", "clip:/nowhere"], "preprocessor_config.json"),
        (["--select", "dynamic", "--min-gap", "0.4"], "leaves no room"),
        (["--select", "dynamic", "--guide", "x", "--guide", "y"], "one prompt for all"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(options, said, model, tmp_path):
    result = aid(*command(model, tmp_path / "out", *options))
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()

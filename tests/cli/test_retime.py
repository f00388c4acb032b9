"""`aid retime`: any number of evenly spaced frames."""

import json

import pytest

from aid_pipeline.metrics.distances import distance
from aid_pipeline.metrics.frame_folder import read_frames
from aid_pipeline.selection.retiming import even_spacing

from ..support.command_line import aid, command, frames_of
from ..support.towers import miniature_folder


def test_retiming_makes_any_number_of_even_frames(model, tmp_path):
    tower = miniature_folder(tmp_path / "tower")
    skewed = ["--frames", "6", "--coefficients", "0,0.1,0.25,0.45,0.7,1"]
    assert aid(*command(model, tmp_path / "first", *skewed)).exit_code == 0
    result = aid(
        *("retime", str(tmp_path / "first"), "--frames", "9", "--out", str(tmp_path / "even")),
        *("--distance", f"miniature:{tower}", "--no-video"),
    )
    assert result.exit_code == 0, result.output
    assert len(frames_of(tmp_path / "even")) == 9
    assert frames_of(tmp_path / "even")[0] == frames_of(tmp_path / "first")[0]
    t = json.loads((tmp_path / "even" / "sequence.json").read_text())["coefficients"]
    there = read_frames(tmp_path / "first")
    assert tuple(t) == even_spacing(there.images, there.coefficients, distance(f"miniature:{tower}"), 9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["{empty}", "--frames", "9", "--out", "{out}"], "cannot read"),
        (["{empty}", "--frames", "1", "--out", "{out}"], "frames must be"),
        (["{empty}", "--frames", "9"], "--out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_to_retiming(options, said, tmp_path):
    (tmp_path / "empty").mkdir()
    result = aid("retime", *(option.format(empty=tmp_path / "empty", out=tmp_path / "out") for option in options))
    assert result.exit_code == 2, result.output
    assert said in result.stderr

"""Every call on the page of videos, run on a tiny model."""

import re
import runpy
from pathlib import Path

import diffusers
import pytest

import aid_pipeline
from aid_pipeline.io.output_folder import MOVING

from ..support.video_pipelines import CALL, fresh

PAGE = Path(__file__).parents[2] / "docs" / "video.md"
CALLS = re.findall(r"^## (\w+)\n(?:(?!^## ).)*?```python\n(.*?)```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
SMALL = CALL | {"num_inference_steps": 2, "max_sequence_length": 64}


class Loaded:
    """What `from_pretrained` returns, to be moved to a device that is not here."""

    def __init__(self, pipe):
        self.to = lambda device: pipe


def test_the_page_has_both_calls():
    assert [title for title, _ in CALLS] == ["Wan", "LTX"]


@pytest.mark.parametrize(("title", "code"), CALLS, ids=[title for title, _ in CALLS])
def test_a_call_runs_on_a_tiny_model(title, code, tmp_path, monkeypatch):
    pipe, made = fresh(title.lower()), []
    stock = aid_pipeline.interpolate

    def interpolate(*prompts, **arguments):
        made.append(stock(*prompts, **arguments | SMALL))
        return made[0]

    cls = getattr(diffusers, f"{title}Pipeline")
    monkeypatch.setattr(cls, "from_pretrained", lambda name, dtype: Loaded(pipe))
    monkeypatch.setattr(aid_pipeline, "interpolate", interpolate)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "call.py").write_text(code)
    runpy.run_path("call.py")
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name == title.lower()
    assert made[0].clip_length == CALL["num_frames"]
    assert (folder / "000" / "004.png").exists()
    assert {path.name for path in folder.iterdir()} & {*MOVING} >= {"sequence.mp4"}

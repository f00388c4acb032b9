"""The table of families: what is tried, what counts as wrong, and that no class ends the run."""

import json
import os
import time
from pathlib import Path

import diffusers
import pytest
import torch

from tools.families import __main__ as command
from tools.families import checks, groups, isolated, page

ROOT = Path(__file__).parents[2]
RECORDED = json.loads((ROOT / command.RECORDS).read_text("utf-8"))["classes"]
ONE_OF_EACH = {
    "text-to-image": "StableDiffusionPipeline",
    "image-to-image": "StableDiffusionImg2ImgPipeline",
    "inpaint": "StableDiffusionXLInpaintPipeline",
    "control": "StableDiffusionControlNetPipeline",
    "video": "AllegroPipeline",
    "audio and other": "AceStepPipeline",
}
# by how the denoiser attends, beside those above
ARCHITECTURES = (
    "AuraFlowPipeline",  # two streams, then one
    "BriaPipeline",  # two streams with positions apart from rows
    "CogView3PlusPipeline",  # one stream
    "FluxPipeline",
    "Lumina2Pipeline",  # complex rotary positions
    "PixArtSigmaPipeline",  # cross-attention with a mask of keys
    "SanaPipeline",  # linear self-attention
    "ZImagePipeline",  # lists per sample
    "ChromaPipeline",  # masks that differ by query
    "AnimateDiffPipeline",  # layers of k times the rows
)


def tried(name: str) -> dict:
    """The record of a class; a class that the committed table calls served stays so."""
    record = checks.try_class(name)
    assert record["status"] != "not tried", record["why"]
    if RECORDED.get(name, {}).get("status") == "works":
        assert record["status"] == "works", record["why"]
        served = {check for check, word in RECORDED[name]["checks"].items() if word == "yes"}
        assert {check for check, word in record["checks"].items() if word == "yes"} >= served
    return record


@pytest.mark.parametrize("group", groups.GROUPS)
def test_one_class_of_each_group_is_served_or_refused_by_name(group: str) -> None:
    name = ONE_OF_EACH[group]
    assert groups.group_of(name, getattr(diffusers, name)) == group
    assert tried(name)["status"] in ("works", "refused")


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_one_class_of_each_architecture(name: str) -> None:
    record = tried(name)
    known = RECORDED.get(name, {}).get("status")
    assert record["status"] in ("works", "refused", known), record["why"]


@pytest.fixture
def interpolated(monkeypatch: pytest.MonkeyPatch):
    """What the checks call instead of `interpolate`: the real one with a fault."""
    real = checks.interpolate

    def spoil(fault) -> dict:
        monkeypatch.setattr(checks, "interpolate", lambda *given, **more: fault(real, *given, **more))
        return checks.try_class("StableDiffusionPipeline")

    return spoil


def _moved(real, *given, **more):
    frames = real(*given, **more)
    return type("Frames", (), {"images": frames.images + 0.01})


def _never_interpolated(real, *given, **more):
    return real(*given, **more | {"config": checks.AIDConfig(mode="none")})


def _other_chunks(real, *given, **more):
    frames = real(*given, **more)
    shift = 0.0 if more["chunk"] > 2 else 0.01
    return type("Frames", (), {"images": frames.images + shift})


@pytest.mark.parametrize(
    ("fault", "said"),
    [(_moved, "endpoints differ"), (_never_interpolated, "none"), (_other_chunks, "chunk: wrong")],
    ids=["endpoints", "interior", "chunks"],
)
def test_wrong_frames_are_found(interpolated, fault, said: str) -> None:
    record = interpolated(fault)
    assert record["status"] == "wrong"
    assert said in record["why"]


def _raise(*given, **more):
    raise KeyError("nothing")


def test_an_exception_that_is_not_the_package_s_is_an_error(interpolated) -> None:
    assert interpolated(lambda real, *given, **more: _raise())["status"] == "error"


def _task(name: str) -> dict:
    if name == "crash":
        os._exit(11)
    if name == "hang":
        time.sleep(60)
    return {"status": "works", "why": ""}


def test_a_crash_and_a_hang_are_rows() -> None:
    records = dict(isolated.each(["crash", "hang", "well"], _task, limit=3.0, jobs=2))
    assert records["crash"]["status"] == "error"
    assert "11" in records["crash"]["why"]
    assert records["hang"]["status"] == "not tried"
    assert records["well"]["status"] == "works"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A repository with an empty page, where Flux is wrong and Sana refused."""
    (tmp_path / "docs").mkdir()
    (tmp_path / command.PAGE).write_text(f"before\n{page.START}{page.END}\nafter\n")
    said = {
        "FluxPipeline": {"status": "wrong", "why": "differs | by <much>"},
        "SanaPipeline": {"status": "refused", "why": "no"},
    }
    monkeypatch.setattr(command, "each", lambda names, *rest: [(name, said[name]) for name in names])
    monkeypatch.setattr(command, "classes", lambda: {name: getattr(diffusers, name) for name in said})
    monkeypatch.setattr(command, "without_prompt", lambda: ["DDPMPipeline"])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    return tmp_path


def test_a_part_is_tried_and_the_rest_kept(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["Sana"], root) == 0
    assert command.main(["Flux"], root) == 1  # wrong frames
    kept = json.loads((root / command.RECORDS).read_text())["classes"]
    assert set(kept) == {"FluxPipeline", "SanaPipeline"}
    text = (root / command.PAGE).read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| Flux | wrong | differs \\| by &lt;much&gt; |" in text
    capsys.readouterr()
    assert command.main(["Flux", "Sana", "--resume"], root) == 0
    assert capsys.readouterr().out == ""


def test_the_page_is_checked_against_the_records(root: Path) -> None:
    command.main(["Sana"], root)
    assert command.main(["--check"], root) == 0
    (root / command.PAGE).write_text(f"before\n{page.START}typed\n{page.END}\nafter\n")
    assert command.main(["--check"], root) == 1
    assert command.main(["--page"], root) == 0
    assert command.main(["--check"], root) == 0


def test_a_name_that_no_class_has(root: Path) -> None:
    with pytest.raises(SystemExit, match="NoSuch"):
        command.main(["NoSuch"], root)


def test_the_committed_page_says_what_the_records_say() -> None:
    assert command.main(["--check"], ROOT) == 0

"""`aid evaluate` on folders of frames and on a list of prompts, with an untrained miniature."""

import json
import shutil

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from aid_pipeline.cli.app import app
from aid_pipeline.errors import ArgumentError
from aid_pipeline.metrics.clip import Clip
from aid_pipeline.metrics.frame_folder import read_frames
from aid_pipeline.metrics.presets import Instruments
from aid_pipeline.studies.evaluation.measure import measure, summarise
from aid_pipeline.studies.evaluation.prompts_file import PromptPair, read_prompts
from aid_pipeline.studies.evaluation.report import page, worst_first
from aid_pipeline.studies.evaluation.time_left import TimeLeft, duration

from ..support.images import colour_features, moving_square, pixel_distance, write_frames

pytest.importorskip("torchmetrics")
pytest.importorskip("matplotlib")
OWN = Instruments(pixel_distance, colour_features, "own")


def aid(*arguments: str):
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def measured_by(miniature) -> list[str]:
    return ["--distance", f"miniature:{miniature}", "--features", f"miniature:{miniature}", "--resamples", "0"]


def test_a_set_of_sequences_beside_their_cross_fades(tmp_path):
    for index, jump in enumerate((1, 3, 3)):
        write_frames(tmp_path / str(index), moving_square(5, jump=jump))
    measured = [measure(read_frames(tmp_path / str(index)), OWN) for index in range(3)]
    result = summarise(measured, OWN, resamples=5)
    rows = result["summary"]["rows"]
    mean = sum(sequence.steps.smoothness for sequence in measured) / 3
    assert rows["sequences"]["smoothness"]["value"] == pytest.approx(mean)
    assert rows["cross-fade"]["smoothness"]["value"] == pytest.approx(1, abs=1e-4)
    assert rows["sequences"]["images"] == [6, 6, 9]
    assert rows["sequences"]["fid"]["value"] >= 0
    assert result["sequences"][1]["worst_pair"] == [2, 3]
    assert worst_first(measured)[0].steps.smoothness == min(m.steps.smoothness for m in measured)
    text = page(result)
    assert "pixels (of a test)" in text
    assert "colours (of a test)" in text
    assert "| *pixel cross-fade* | 1.0000" in text
    json.dumps(result, allow_nan=False)


def test_large_frames_are_not_kept(tmp_path):
    """Hundreds of sequences are measured one after another; what stays of each is what its strip shows."""
    write_frames(tmp_path / "large", moving_square(3, pixels=300))
    write_frames(tmp_path / "little", moving_square(3, pixels=40))
    large, little = (measure(read_frames(tmp_path / name), OWN) for name in ("large", "little"))
    assert {image.size for image in large.small} == {(112, 112)}
    assert {image.size for image in little.small} == {(40, 40)}
    kept = [value for value in vars(large).values() if isinstance(value, torch.Tensor)]
    assert max(value.numel() for value in kept) < 3 * 300 * 300
    assert any(high > 0 for _, high in large.small[0].getextrema())


def test_a_prompt_that_the_text_tower_does_not_read_is_said(miniature, tmp_path):
    for index, image in enumerate(moving_square(4, pixels=64)):
        image.save(tmp_path / f"{index:03d}.png")
    document = {"coefficients": [0, 0.3, 0.6, 1], "arguments": {"prompt_a": "a red ring " * 20, "prompt_b": "b"}}
    (tmp_path / "sequence.json").write_text(json.dumps(document))
    clip = Instruments(pixel_distance, Clip(miniature), "own")
    result = summarise([measure(read_frames(tmp_path), clip)], clip, resamples=0)
    assert "tokens" in result["sequences"][0]["clip_scores_missing"]
    assert "No CLIP scores of 1 sequence(s): the prompt 'a red ring" in page(result)


def test_a_folder_on_the_command_line(miniature, tmp_path):
    source = write_frames(tmp_path / "frames", moving_square(5, pixels=64))
    out = tmp_path / "out"
    command = ["evaluate", str(source), "--out", str(out), *measured_by(miniature)]
    result = aid(*command)
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.glob("[a-z]*")} == {
        *("evaluation.json", "evaluation.md", "distances.png", "boxes.png", "strips.png")
    }
    document = json.loads((out / "evaluation.json").read_text())
    assert "not LPIPS" in document["instruments"]["distance"]
    assert "not Inception" in document["instruments"]["features"]
    assert document["summary"]["rows"]["sequences"]["few_images"]
    assert "FID is far from its limit" in (out / "evaluation.md").read_text()
    for name in ("distances", "boxes", "strips"):
        with Image.open(out / f"{name}.png") as image:
            image.load()
            assert len(image.convert("L").getcolors()) > 3
    with Image.open(out / "strips.png") as strip:  # the worst pair is framed: red, which the frames do not hold
        assert (214, 39, 40) in {colour for _, colour in strip.convert("RGB").getcolors(1 << 16)}
    assert aid(*command).exit_code == 0  # measured anew
    beside = ["evaluate", str(tmp_path / "frames" / ".."), "--out", str(tmp_path / "measured"), *measured_by(miniature)]
    shutil.rmtree(out)
    assert aid(*beside).exit_code == 0
    assert aid(*beside).exit_code == 0  # its own images are no frames
    assert aid(*command).exit_code == 0
    other = aid("evaluate", str(tmp_path), "--out", str(out), *measured_by(miniature))
    assert other.exit_code == 2
    assert "of another command (source differ)" in other.stderr.replace("\n", " ")


def test_prompts_are_made_once(miniature, tmp_path, monkeypatch):
    """A run that stops after the first sequence goes on with the second; a third run makes nothing."""
    from aid_pipeline.request import Request

    source = tmp_path / "prompts.csv"
    source.write_text("prompt_a,prompt_b,seed,guide\na red sphere,a blue cube,3,\na ring,a cone,,a pink box\n")
    small = ["--frames", "3", "--num-inference-steps", "1", "--guidance-scale", "1", "--no-plots"]
    command = ["evaluate", str(source), "--out", str(tmp_path / "out"), "--model", str(miniature), *small]
    command += measured_by(miniature)
    sampled, sample = [], Request.sample

    def interrupted(self, pipe, progress=None):
        if sampled and len(sampled) < 2:
            sampled.append("interrupted")
            raise KeyboardInterrupt
        sampled.append(self.spec.keyframes[0].prompt)
        return sample(self, pipe, progress)

    monkeypatch.setattr(Request, "sample", interrupted)
    result = aid(*command)
    assert result.exit_code == 1
    assert "the same command goes on" in result.output
    result = aid(*command)
    assert result.exit_code == 0, result.output
    assert "1 of 2 sequences are there already" in result.output
    assert sampled == ["a red sphere", "interrupted", "a ring"]
    with monkeypatch.context() as patch:

        def stop(*_):
            raise KeyboardInterrupt

        patch.setattr("aid_pipeline.studies.evaluation.run.measure", stop)
        result = aid(*command)
        assert result.exit_code == 1
        assert "all sequences are kept" in result.stderr
    assert aid(*command).exit_code == 0
    assert len(sampled) == 3
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert document["sequences"][0]["prompts"] == ["a red sphere", "a blue cube"]
    assert set(document["sequences"][0]["clip_scores"]) == {"a", "b"}
    assert set(document["sequences"][1]["clip_scores"]) == {"a", "b", "guide"}
    assert document["summary"]["clip_scores"]["guide"]["count"] == 1
    first = json.loads((tmp_path / "out" / "sequences" / "0000" / "sequence.json").read_text())
    assert first["arguments"]["seed"] == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prompt_a\na\n", "misses prompt_b"),
        ("prompt_a,prompt_b,colour\na,b,c\n", "has 'colour'"),
        ("prompt_a,prompt_b\na,b,c\n", "line 2 .* other cells"),
        ("prompt_a,prompt_b\na,b\n,b\n", "line 3 .* has no prompt_a"),
        ("prompt_a,prompt_b,seed\na,b,x\n", "line 2.* seed 'x' is not a whole number"),
        ("prompt_a,prompt_b\n", "holds no prompts"),
        ('prompt_a,prompt_b\n"a,b\n', "no CSV"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, said):
    (tmp_path / "prompts.csv").write_text(text)
    with pytest.raises(ArgumentError, match=said):
        read_prompts(tmp_path / "prompts.csv")


def test_prompts_with_commas_and_empty_cells(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_text('\ufeffprompt_a,guide,prompt_b,seed\n"a ring, lit from the left",,b,07\n', encoding="utf-8")
    assert read_prompts(path) == [PromptPair("a ring, lit from the left", "b", 7)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{here}/none", "--out", "{here}/out"], "neither a folder of frames nor a CSV"),
        (["{here}/frames"], "--out"),
        (["{here}/frames", "--out", "{here}/out", "--mode", "inner"], "--mode is for a CSV"),
        (["{here}/frames", "--out", "{here}/frames"], "is not empty"),
        (["{here}/frames", "--out", "{here}/out", "--resamples", "-1"], "resamples must be 0"),
        (["{here}/frames", "--out", "{here}/out", "--preset", "standard"], "lpips:FILE"),
        (["{here}/two", "--out", "{here}/out"], "nothing lies between"),
        (["{here}/mixed", "--out", "{here}/out"], "frame9.png is 32x16"),
        (["{here}/lengths", "--out", "{here}/out"], "of 3, 4 frames cannot be compared"),
        (["{here}/none.csv", "--out", "{here}/out"], "cannot read"),
        (["{here}/none.csv", "--out", "{here}/out", "--frames", "2"], "frames must be at least 3"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(miniature, tmp_path, arguments, said):
    write_frames(tmp_path / "frames", moving_square(3))
    write_frames(tmp_path / "two", moving_square(2))
    write_frames(tmp_path / "mixed", moving_square(3))
    Image.new("RGB", (32, 16)).save(tmp_path / "mixed" / "frame9.png")
    for count in (3, 4):
        write_frames(tmp_path / "lengths" / str(count), moving_square(count))
    places = [argument.format(here=tmp_path) for argument in arguments]
    own = [] if "--preset" in places else measured_by(miniature)
    result = aid("evaluate", *own, *places)
    assert result.exit_code == 2, result.output
    assert said in result.stderr.replace("\n", " ")


def test_time_left():
    now = iter([0.0, 2.0, 6.0])
    left = TimeLeft(4, clock=lambda: next(now))
    assert left.advance() == "1 of 4, 2.0 s each, 6 s left"
    assert left.advance() == "2 of 4, 3.0 s each, 6 s left"
    assert [duration(seconds) for seconds in (59.4, 61, 3600 + 300)] == ["59 s", "1 min 01 s", "1 h 05 min"]

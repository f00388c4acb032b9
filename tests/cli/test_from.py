"""`aid interpolate --from`: the same sequence again, bit for bit, or a reason why not."""

import json
import warnings

import diffusers
import pytest
import torch

from aid_kernels import Choice, choices_from_json
from aid_pipeline import interpolate, load_model

from ..support.command_line import aid, command, frames_of


def test_a_sequence_and_the_same_again(model, tmp_path):
    options = ["--guide", "a cone", "--beta", "3,3", "--seed", "1,2", "--mode", "inner", "--warmup", "1", "--gif"]
    options += ["--negative-prompt", "dull", "--stock", "guidance_rescale=0.3", "--chunk", "3"]
    result = aid(*command(model, tmp_path / "first", *options))
    assert result.exit_code == 0, result.output
    assert "4 frames in" in result.output
    document = json.loads((tmp_path / "first" / "sequence.json").read_text())
    assert document["arguments"]["guidance_rescale"] == 0.3
    assert document["arguments"]["seed"] == [1, 2]
    assert document["coefficients"][1] == pytest.approx(0.40913, abs=1e-5)  # a third of Beta(3, 3)

    result = aid("interpolate", "--from", str(tmp_path / "first" / "sequence.json"), "--out", str(tmp_path / "again"))
    assert result.exit_code == 0, result.output
    again = json.loads((tmp_path / "again" / "sequence.json").read_text())
    assert again["files"] == document["files"]  # every image and animation, bit for bit
    assert len(frames_of(tmp_path / "again")) == 4


def test_a_sequence_from_python_can_be_made_again(model, tmp_path):
    """Other scheduler, given latents: what the command line itself cannot say."""
    pipe = load_model(model, device="cpu")
    pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    sequence = interpolate(pipe, "a", "b", frames=3, latents=latents, height=16, width=16, num_inference_steps=3)
    sequence.save(tmp_path / "first", video=False)
    result = aid("interpolate", "--from", str(tmp_path / "first"), "--out", str(tmp_path / "again"))
    assert result.exit_code == 0, result.output
    assert frames_of(tmp_path / "again") == frames_of(tmp_path / "first")
    assert not (tmp_path / "again" / "sequence.mp4").exists()


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 1}', "\x00"])
def test_other_json_is_not_a_sequence(text, tmp_path):
    (tmp_path / "sequence.json").write_text(text)
    result = aid("interpolate", "--from", str(tmp_path), "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "is not the sequence.json of a sequence" in result.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: document["model"].pop("id"), "lacks 'id'"),
        (lambda document: document["arguments"].pop("output_type"), "lacks 'output_type'"),
        (lambda document: document["arguments"].pop("prompt_a"), "lacks 'prompt_a'"),
        (lambda document: document["config"].update(colour=1), "colour"),
        (lambda document: document["config"].update(mode="both"), "mode must be one of"),
        (lambda document: document["machine"].update(threads=0), "threads is 0"),
        (lambda document: document.update(fps="x"), "fps must be"),
        (lambda document: document.update(model=3), "is not the sequence.json"),
        (lambda document: document.update(coefficients=None), "coefficients is null"),
        (lambda document: document["choices"][0]["choice"].update(route="scenic"), "route must be one of"),
        (lambda document: document["choices"][0]["call"].pop("mode"), "a bucket must be an object of mode"),
    ],
    ids=range(11),
)
def test_an_edited_sequence_json_is_read_with_care(change, said, finished, tmp_path):
    document = json.loads((finished / "sequence.json").read_text())
    change(document)
    (tmp_path / "edited.json").write_text(json.dumps(document))
    result = aid("interpolate", "--from", str(tmp_path / "edited.json"), "--out", str(tmp_path / "out"))
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_other_weights_do_not_make_the_same_sequence(model, tmp_path):
    assert aid(*command(model, tmp_path / "first")).exit_code == 0
    path = tmp_path / "first" / "sequence.json"
    document = json.loads(path.read_text())
    document["model"]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(document))
    result = aid("interpolate", "--from", str(path), "--out", str(tmp_path / "again"))
    assert result.exit_code == 2
    assert "not the model the sequence was sampled with" in result.stderr


def test_frames_follow_from_coefficients(finished, tmp_path):
    document = json.loads((finished / "sequence.json").read_text())
    del document["arguments"]["frames"]
    document["coefficients"] = [0, 0.5, 1]
    (tmp_path / "edited.json").write_text(json.dumps(document))
    result = aid("interpolate", "--from", str(tmp_path / "edited.json"), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert len(frames_of(tmp_path / "out")) == 3


def test_coefficients_that_were_left_out_are_those_of_the_frames(finished, tmp_path):
    document = json.loads((finished / "sequence.json").read_text())
    assert document["arguments"]["coefficients"] is None
    last = len(document["coefficients"]) - 1
    document["coefficients"] = [(index / last) ** 2 for index in range(last + 1)]
    (tmp_path / "edited.json").write_text(json.dumps(document))
    result = aid("interpolate", "--from", str(tmp_path / "edited.json"), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    again = json.loads((tmp_path / "out" / "sequence.json").read_text())
    assert again["coefficients"] == again["arguments"]["coefficients"] == document["coefficients"]


def test_threads_are_put_back(finished, tmp_path):
    document = json.loads((finished / "sequence.json").read_text())
    document["machine"]["threads"] = torch.get_num_threads() + 1
    (tmp_path / "edited.json").write_text(json.dumps(document))
    before = torch.get_num_threads(), list(warnings.filters)
    assert aid("interpolate", "--from", str(tmp_path / "edited.json"), "--out", str(tmp_path / "out")).exit_code == 0
    assert (torch.get_num_threads(), list(warnings.filters)) == before
    again = json.loads((tmp_path / "out" / "sequence.json").read_text())
    assert again["machine"]["threads"] == document["machine"]["threads"]


def test_choices_are_recorded_by_layer_and_replayed(finished, tmp_path):
    """The record decides, not what is fastest here: the other route is taken where the record says so."""
    document = json.loads((finished / "sequence.json").read_text())
    fused = [item for item in document["choices"] if item["call"]["mode"] == "outer" and item["call"]["fuse_self"]]
    assert fused
    assert all(item["choice"]["implementation"] == "sdpa" and item["layers"] for item in fused)
    for item in fused:
        item["choice"]["route"] = {"merged": "concatenated", "concatenated": "merged"}[item["choice"]["route"]]
    (tmp_path / "edited.json").write_text(json.dumps(document))
    for name in ("out", "again"):
        result = aid("interpolate", "--from", str(tmp_path / "edited.json"), "--out", str(tmp_path / name))
        assert result.exit_code == 0, result.output
        written = json.loads((tmp_path / name / "sequence.json").read_text())
        assert written["choices"] == document["choices"]
    assert frames_of(tmp_path / "out") == frames_of(tmp_path / "again")


def test_a_cache_filled_meanwhile_does_not_change_a_sequence_made_again(finished, tmp_path, monkeypatch):
    from aid_kernels.interpolated_attention.tuning import settled
    from aid_kernels.interpolated_attention.tuning.measure import Measurement, Outcome

    document = json.loads((finished / "sequence.json").read_text())
    monkeypatch.setenv("AID_KERNELS_CACHE_DIR", str(tmp_path / "cache"))
    settled.forget()
    for bucket, choice in choices_from_json(document["choices"]).items():
        other = Choice("sdpa", route={"merged": "concatenated", "concatenated": "merged"}[choice.route])
        measured = Measurement(other, (Outcome(other, 0.0, 1.0),), 0.0, 0.02, (1, 1, 1, 1, 1, 1), 1)
        settled.cache_for("cpu").store(bucket, measured)
    result = aid("interpolate", "--from", str(finished), "--out", str(tmp_path / "again"), "--no-video")
    assert result.exit_code == 0, result.output
    again = json.loads((tmp_path / "again" / "sequence.json").read_text())
    assert again["choices"] == document["choices"]
    assert again["files"] == document["files"]
    settled.forget()

"""The command `aid`: exit codes, messages, the same sequence again, interruption and kills."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from aid_pipeline import load_model
from aid_pipeline.cli.app import app
from aid_pipeline.io.output_folder import UNFINISHED
from aid_pipeline.request import Request

from ..support.families import FAMILIES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    """A model folder on disk."""
    folder = tmp_path_factory.mktemp("model")
    FAMILIES["sd1"].fresh().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def finished(model, tmp_path_factory) -> Path:
    """A finished sequence of the command line; leave it as it is."""
    out = tmp_path_factory.mktemp("sequences") / "finished"
    assert aid(*command(model, out, "--no-video")).exit_code == 0
    return out


def command(model: str, out: Path, *more: str) -> list[str]:
    sizes = ["--height", "16", "--width", "16", "--frames", "4", "--num-inference-steps", "3"]
    return ["interpolate", "a red sphere", "a blue cube", "--model", model, "--out", str(out), *sizes, *more]


def aid(*arguments: str):
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def frames_of(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("[0-9]*.png"))]


# ---------------------------------------------------------------- making sequences


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
    assert again["files"] == document["files"]  # every picture and animation, bit for bit
    assert len(frames_of(tmp_path / "again")) == 4


def test_a_sequence_from_python_can_be_made_again(model, tmp_path):
    """Other scheduler, given latents: what the command line itself cannot say."""
    import diffusers
    import torch

    from aid_pipeline import interpolate

    pipe = load_model(model, device="cpu")
    pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    made = interpolate(pipe, "a", "b", frames=3, latents=latents, height=16, width=16, num_inference_steps=3)
    made.save(tmp_path / "first", video=False)
    result = aid("interpolate", "--from", str(tmp_path / "first"), "--out", str(tmp_path / "again"))
    assert result.exit_code == 0, result.output
    assert frames_of(tmp_path / "again") == frames_of(tmp_path / "first")
    assert not (tmp_path / "again" / "sequence.mp4").exists()


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


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "b"], "--out"),
        (["a", "--out", "{out}"], "give two prompts"),
        (["", "b", "--out", "{out}"], "prompt_a is empty"),
        (["a", "b", "--out", "{out}", "--frames", "1"], "frames must be"),
        (["a", "b", "--out", "{out}", "--mode", "both"], "mode must be one of"),
        (["a", "b", "--out", "{out}", "--beta", "3"], "two numbers"),
        (["a", "b", "--out", "{out}", "--beta", "3,x"], "'x' is not a number"),
        (["a", "b", "--out", "{out}", "--beta", "3,3", "--coefficients", "0,1"], "give one of them"),
        (["a", "b", "--out", "{out}", "--coefficients", "0,nan,1", "--frames", "3"], "number 1 is nan"),
        (["a", "b", "--out", "{out}", "--seed", "x"], "'x' is not a whole number"),
        (["a", "b", "--out", "{out}", "--chunk", "some"], "'some' is not a whole number"),
        (["a", "b", "--out", "{out}", "--guide", "x", "--guide", "y"], "one for each of the 5"),
        (["a", "b", "--out", "{out}", "--stock", "eta"], "NAME=JSON"),
        (["a", "b", "--out", "{out}", "--stock", "frames=3"], "frames is one of aid's own"),
        (["a", "b", "--out", "{out}", "--stock", "config=3"], "config is one of aid's own"),
        (["a", "b", "--out", "{out}", "--stock", "guidance_rescale=NaN"], "NAME=JSON"),
        (["a", "b", "--out", "{out}", "--model", "{model}", "--stock", 'eta="x"'], "eta must be a finite number"),
        (["a", "b", "--out", "{out}", "--model", "{model}", "--stock", "clip_skip=50"], "clip_skip=50"),
        (["a", "b", "--out", "{out}", "--model", "{model}", "--stock", "timesteps=[9,5,1]"], "refuses the call"),
        (["a", "b", "--out", "{out}", "--model", "{model}", "--num-inference-steps", "2000"], "refuses the call"),
        (["a", "b", "--out", "{out}", "--model", "{model}", "--device", "meta"], "cannot be used here"),
        (["a", "b", "--out", "{out}", "--fps", "0"], "fps must be a positive number"),
        (["a", "b", "--out", "{out}", "--fps", "nan"], "fps must be a positive number"),
        (["a", "b", "--out", "{out}", "--latents", "/none.safetensors"], "none.safetensors"),
        (["a", "b", "--out", "{out}", "--model", "{empty}"], "no model_index.json"),
        (["a", "b", "--out", "{out}", "--model", "no such thing"], "neither a folder, nor a hub id"),
        (["a", "b", "--out", "{out}", "--revision", "main"], "for hub models"),
        (["a", "b", "--out", "{out}", "--model", "{model}", "--dtype", "int8"], "dtype must be one of"),
        (["a", "b", "--out", "{out}", "--model", "{model}", "--device", "tpu9"], "not a device"),
        (["a", "b", "--out", "{out}", "--model", "{model}", "--height", "20"], "multiple of 8"),
        (["a", "b", "--out", "{out}", "--model", "{model}", "--stock", "etta=1"], "did you mean eta"),
        (["a", "b", "--out", "{full}", "--model", "{model}"], "is not empty"),
        (["--from", "{empty}", "--out", "{out}"], "cannot read"),
        (["--from", "{full}/notes.txt", "--out", "{out}"], "is not the sequence.json"),
        (["--from", "{empty}", "--out", "{out}", "--seed", "1"], "leave seed out"),
    ],
    ids=lambda value: " ".join(value)[:70] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_code_2_and_leaves_nothing(arguments, said, model, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    places = {"out": tmp_path / "out", "full": tmp_path / "full", "empty": tmp_path / "empty", "model": model}
    result = aid("interpolate", *(argument.format(**places) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]


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
    ],
    ids=range(8),
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


@pytest.mark.parametrize(
    ("asked", "options", "said"),
    [
        ("nonsense", [], "AID_KERNELS_IMPL must be one of"),
        ("triton", [], "triton cannot serve"),
        ("", ["--impl", "triton"], "triton cannot serve"),
    ],
)
def test_an_implementation_that_cannot_serve(asked, options, said, model, tmp_path, monkeypatch):
    monkeypatch.setenv("AID_KERNELS_IMPL", asked)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    result = aid(*command(model, tmp_path / "out", *options))
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
    assert "not the model the sequence was made with" in result.stderr


# ---------------------------------------------------------------- failures and interruption


def test_frames_at_fault_are_named_and_code_1(model, tmp_path, monkeypatch):
    load = Request.load

    def overflowing(self):
        pipe = load(self)
        pipe.unet.register_forward_hook(
            lambda module, inputs, output: (output[0].index_fill(0, frame_2, float("inf")),)
        )
        return pipe

    import torch

    frame_2 = torch.tensor([2, 6])  # of four, unconditional and conditional
    monkeypatch.setattr(Request, "load", overflowing)
    result = aid(*command(model, tmp_path / "out", "--mode", "none"))
    assert result.exit_code == 1
    assert "frame(s) 2 hold NaN" in result.stderr
    assert (tmp_path / "out" / "sequence.json").exists()


def test_ctrl_c_while_denoising_leaves_nothing_and_says_so(model, tmp_path, monkeypatch):
    make = Request.make

    def interrupted(self, pipe, progress=None):
        def stop(done, total):
            if done == 2:
                raise KeyboardInterrupt

        return make(self, pipe, stop)

    monkeypatch.setattr(Request, "make", interrupted)
    result = aid(*command(model, tmp_path / "out"))
    assert result.exit_code == 1
    assert "interrupted; nothing is saved yet" in result.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_while_saving_says_what_is_there(model, tmp_path, monkeypatch):
    from aid_pipeline.io import saving

    def interrupted(pictures):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(saving, "strip", interrupted)
        result = aid(*command(model, tmp_path / "out"))
    assert result.exit_code == 1
    assert "000.png to 003.png (4 files), each whole" in result.stderr
    assert aid(*command(model, tmp_path / "out")).exit_code == 0


def test_out_of_memory_is_a_failure_with_advice(model, tmp_path, monkeypatch):
    import torch

    def exhausted(self, pipe, progress=None):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(Request, "make", exhausted)
    result = aid(*command(model, tmp_path / "out"))
    assert result.exit_code == 1
    assert "use a smaller --chunk" in result.stderr
    assert not (tmp_path / "out").exists()


def start(arguments: list[str]) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "aid_pipeline", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check_whole(folder: Path) -> None:
    """Every file that has a final name can be read."""
    for path in folder.glob("*.png"):
        Image.open(path).load()
    for path in folder.glob("*.json"):
        json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.timeout(1800)  # it can be asked for many kills
def test_killed_at_random_the_command_can_be_repeated(model, tmp_path, request):
    lottery, out = random.Random(time.time_ns()), tmp_path / "out"
    began = time.monotonic()
    assert start(command(model, tmp_path / "whole", "--gif", "--webp")).wait(timeout=240) == 0
    whole_run = time.monotonic() - began
    arguments = command(model, out, "--gif", "--webp")
    for _ in range(request.config.getoption("--kills")):
        process = start(arguments)
        time.sleep(lottery.uniform(0, whole_run))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if out.exists():
            check_whole(out)
        if (out / "sequence.json").exists() and not (out / UNFINISHED).exists():
            shutil.rmtree(out)  # finished before the kill: the next run begins anew
    process = start(arguments)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, output + errors
    check_whole(out)
    assert {"000.png", "003.png", "sequence.json", "sequence.gif"} <= {path.name for path in out.iterdir()}
    assert not (out / UNFINISHED).exists()


# ---------------------------------------------------------------- the rest of the command


def test_help_teaches_by_example_without_loading_torch():
    code = (
        "import sys; from typer.testing import CliRunner; from aid_pipeline.cli.app import app\n"
        "result = CliRunner().invoke(app, ['interpolate', '--help'])\n"
        'assert \'aid interpolate "a red sphere" "a blue cube" --out\' in result.output, result.output\n'
        "assert result.exit_code == 0 and 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_options_are_the_python_names():
    import inspect

    from aid_pipeline import interpolate

    result = CliRunner().invoke(app, ["interpolate", "--help"], env={"COLUMNS": "200"})
    named = set(inspect.signature(interpolate).parameters) - {
        *("pipe", "prompt_a", "prompt_b", "config", "output_type", "progress"),
    }
    for name in named:
        assert f"--{name.replace('_', '-')}" in result.output


def test_models_and_info():
    models = aid("models")
    assert models.exit_code == 0
    assert "miniature" in models.output
    info = aid("info")
    assert info.exit_code == 0
    assert "served by" in info.output
    assert "sdpa" in info.output


def test_usage_errors_are_bad_input():
    assert aid("interpolate", "a", "b", "--no-such-option").exit_code == 2
    assert aid("draw").exit_code == 2

"""Bad input on the command line: one line, exit code 2, and nothing left behind."""

import pytest

from ..support.command_line import aid, command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "b"], "--out"),
        (["a", "--out", "{out}"], "give two prompts"),
        (["", "b", "--out", "{out}"], "prompt_a is empty"),
        (["a.png", "b", "--out", "{out}"], "use --real-a"),
        (["a", "{full}/notes.txt", "--out", "{out}"], "use --real-b"),
        (["--real-a", "{full}/notes.txt", "a", "b", "--out", "{out}"], "no image that can be read"),
        (["--real-a", "none.png", "--real-b", "none.png", "--out", "{out}"], "none.png is no file"),
        (["--real-b", "{full}", "a", "--out", "{out}"], "is a folder"),
        (["--real-a", "none.png", "a", "--out", "{out}"], "give two prompts"),
        (["a", "b", "--keep-ends", "file", "--out", "{out}"], "add --real-a or --real-b"),
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


WRONG = [
    *(["--frames", "1"], ["--mode", "both"], ["--coefficients", "0,1,0.5"], ["--beta", "0,1"], ["--guide", ""]),
    *(["--seed", "-1"], ["--chunk", "0"], ["--num-inference-steps", "0"], ["--guidance-scale", "nan"]),
    *(["--select", "best"], ["--select", "dynamic", "--explore", "3"], ["--fps", "0"], ["--revision", "main"]),
    *(["--height", "20"], ["--width", "-8"], ["--frames", "1000000000"], ["--stock", 'prompt="x"']),
]


@pytest.mark.parametrize("options", WRONG, ids=" ".join)
def test_what_needs_no_model_is_said_before_one_is_loaded(options, model, tmp_path, monkeypatch):
    def load_model(*arguments):
        raise AssertionError("the model is loaded")

    monkeypatch.setattr("aid_pipeline.request.load_model", load_model)
    with pytest.raises(AssertionError, match="the model is loaded"):
        aid(*command(model, tmp_path / "out"))
    assert aid(*command(model, tmp_path / "out", *options)).exit_code == 2


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


def test_usage_errors_are_bad_input():
    assert aid("interpolate", "a", "b", "--no-such-option").exit_code == 2
    assert aid("draw").exit_code == 2

"""Arguments of a sequence in comparison, diagnosis and evaluation: the specification's, checked as in `interpolate`."""

import json

import pytest
import torch
from typer.testing import CliRunner

from aid_pipeline import AIDConfig, BetaPrior
from aid_pipeline import errors as e
from aid_pipeline.cli import compare, diagnose, evaluate
from aid_pipeline.cli.app import app
from aid_pipeline.cli.spec_options import spec_options
from aid_pipeline.interpolation import exclusive
from aid_pipeline.spec import InterpolationSpec
from aid_pipeline.studies.comparison.methods import all_methods, pick, sample_methods
from aid_pipeline.studies.comparison.run import ComparisonSettings

from ..support.families import FAMILIES

METHODS = pick(["tei", "aid-o"], all_methods(BetaPrior(3, 3)))
SMALL = {"frames": 3, "num_inference_steps": 1, "height": 16, "width": 16}


@pytest.fixture(scope="module")
def pipe():
    return FAMILIES["sd1"].fresh()


def between(**arguments) -> InterpolationSpec:
    return InterpolationSpec.between("a", "b", **SMALL | arguments)


@pytest.mark.parametrize(
    ("module", "options"),
    [(compare, compare.CompareOptions), (diagnose, diagnose.DiagnoseOptions), (evaluate, evaluate.EvaluateOptions)],
    ids=["compare", "diagnose", "evaluate"],
)
def test_every_argument_is_an_option_but_those_that_the_command_decides(module, options):
    shown = {name: (hint, entry) for name, hint, entry in spec_options(without=module._WITHOUT)}
    assert {"frames", "warmup", "impl", "chunk", "num_inference_steps", "guidance_scale", "stock"} <= shown.keys()
    for name, (hint, entry) in shown.items():
        own = options.__dataclass_fields__[name]
        assert (own.type, own.default) == (hint, getattr(entry, "default", entry)), name
    everything = {name for name, *_ in spec_options()}
    assert set(module._WITHOUT) <= everything | {"select", "config"}


def test_methods_are_checked_as_a_sequence_is(pipe):
    for error, said, wrong in (
        (e.ArgumentError, "did you mean guidance_rescale", {"guidance_recale": 0.5}),
        (e.ArgumentError, "guidance_scale=1", {"negative_prompt": "x", "guidance_scale": 1}),
        (e.ArgumentError, "without guide, got 'x'; leave it out", {"guide": "x"}),
        (e.ArgumentError, "without coefficients", {"coefficients": [0, 0.5, 1]}),
        (e.ArgumentError, "without select", {"select": "dynamic"}),
        (e.ArgumentError, "without latents", {"latents": torch.zeros(2, 4, 8, 8)}),
        (e.ArgumentError, "at least 3", {"frames": 2}),
    ):
        with pytest.raises(error, match=said):
            next(sample_methods(pipe, between(**wrong), METHODS))


def test_methods_share_a_pipeline_with_no_other_sequence(pipe):
    with exclusive(pipe.unet), pytest.raises(e.BusyError):
        next(sample_methods(pipe, between(), METHODS))
    rows = sample_methods(pipe, between(), METHODS)
    next(rows)
    with exclusive(pipe.unet):  # between two rows it is free
        pass
    assert len(list(rows)) == 1


def test_stock_arguments_and_negative_prompts_reach_every_method(pipe):
    plain = dict(sample_methods(pipe, between(), METHODS))
    for more in ({"negative_prompt": "x y z"}, {"guidance_rescale": 0.9}):
        changed = dict(sample_methods(pipe, between(**more), METHODS))
        for name in METHODS:
            assert not torch.equal(changed[name].images, plain[name].images), (name, more)


def test_the_implementation_is_that_of_every_row():
    spec = between(config=AIDConfig(impl="sdpa", warmup=0.3))
    rows = ComparisonSettings(spec, methods=("tei", "aid-o"), seeds=(0,), beta="3,3").rows
    assert {(method.config.impl, method.config.warmup) for method in rows.values()} == {("sdpa", 0.3)}


def test_more_options_of_a_comparison_are_used_and_recorded(miniature, tmp_path):
    command = ["compare", "a", "b", "--out", str(tmp_path / "out"), "--model", str(miniature), "--methods", "tei"]
    command += ["--frames", "3", "--num-inference-steps", "1", "--height", "32", "--width", "32", "--chunk", "2"]
    command += ["--negative-prompt", "dull", "--stock", "guidance_rescale=0.5", "--impl", "sdpa"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    arguments = json.loads((tmp_path / "out" / "comparison.json").read_text())["arguments"]
    assert arguments == {
        **{"prompt_a": "a", "prompt_b": "b", "frames": 3, "chunk": 2, "num_inference_steps": 1, "guidance_scale": 5.0},
        **{"negative_prompt": "dull", "height": 32, "width": 32, "guidance_rescale": 0.5, "warmup": 0.5},
        **{"impl": "sdpa", "methods": ["tei"], "seeds": [0], "beta": "3,3"},
    }
    assert 'width="128" height="128"' in (tmp_path / "out" / "comparison.html").read_text()  # of 32 pixels, enlarged


def test_more_arguments_of_an_evaluation_reach_its_sequences(tmp_path):
    from aid_pipeline.studies.evaluation.run import requests_of

    (tmp_path / "prompts.csv").write_text("prompt_a,prompt_b,seed\na,b,3\nc,d,\n")
    arguments = {"coefficients": (0, 0.2, 1), "height": 64, "guidance_rescale": 0.5}
    first, second = requests_of(tmp_path / "prompts.csv", arguments, model="x", device="cpu", dtype="auto")
    assert first.spec.to_json() == InterpolationSpec.between("a", "b", seed=3, **arguments).to_json()
    assert second.spec.to_json() == InterpolationSpec.between("c", "d", **arguments).to_json()
    with pytest.raises(e.ArgumentError, match="multiple of 8"):
        requests_of(tmp_path / "none.csv", {"height": 20})

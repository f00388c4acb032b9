"""`InterpolationSpec`: defaults and signature, every check without a pipeline, JSON, and frames from coefficients."""

import inspect
import json
from dataclasses import dataclass, field, fields

import numpy as np
import pytest
import torch

from aid_pipeline import AIDConfig, BetaPrior, Selection, interpolate
from aid_pipeline import errors as e
from aid_pipeline.keyframes import Keyframe
from aid_pipeline.spec import InterpolationSpec

NAN = float("nan")
SIGNATURE = (
    *("pipe", "prompt_a", "prompt_b", "frames", "config", "guide", "coefficients", "latents", "seed", "chunk"),
    *("num_inference_steps", "guidance_scale", "negative_prompt", "height", "width", "output_type"),
    *("select", "progress", "stock"),
)
# a value of every field that is not its default
OTHER = {
    "frames": 4,
    "config": AIDConfig(mode="inner", fuse_self=False, warmup=0.3, impl="sdpa"),
    "guide": ("x", "y"),
    "coefficients": (0.0, 0.2, 0.9, 1.0),
    "seed": (1, 2),
    "chunk": 3,
    "num_inference_steps": 7,
    "guidance_scale": 2.5,
    "negative_prompt": ("p", "q"),
    "height": 64,
    "width": 32,
    "output_type": "np",
    "select": Selection(explore=9),
    "stock": {"eta": 0.5},
}


def between(**arguments) -> InterpolationSpec:
    return InterpolationSpec.between("a", "b", **arguments)


def again(spec: InterpolationSpec) -> InterpolationSpec:
    """Through the text of a `sequence.json`."""
    document = json.loads(json.dumps(spec.to_json()))
    return type(spec).from_json(document["arguments"], document["config"])


# ---------------------------------------------------------------- arguments and their defaults


def test_the_signature_of_interpolate_is_the_specification():
    parameters = inspect.signature(interpolate).parameters
    assert tuple(parameters) == SIGNATURE
    assert tuple(InterpolationSpec.names()) == SIGNATURE[3:-2]
    assert parameters["select"].kind is parameters["progress"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["config"].default is None
    for entry in fields(InterpolationSpec):
        if entry.name in InterpolationSpec.names() and entry.name != "config":
            assert parameters[entry.name].default is entry.default


def test_defaults_users_know():
    spec = between()
    assert (spec.frames, spec.num_inference_steps, spec.guidance_scale) == (7, 25, 5.0)
    assert spec.config == AIDConfig()
    assert spec.seeds() == (0, 0)
    assert inspect.signature(interpolate).parameters["frames"].default == 7


def test_arguments_of_the_stock_call_are_kept_apart():
    spec = between(eta=0.5, height=64)
    assert spec.stock == {"eta": 0.5}
    assert spec.stock_call() == {"eta": 0.5, "num_inference_steps": 25, "guidance_scale": 5.0, "height": 64}


# ---------------------------------------------------------------- frames and coefficients


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor, iter])
def test_frames_follow_from_coefficients(kind):
    spec = between(coefficients=kind([0, 0.5, 1.0]))
    assert spec.frames == 3
    assert spec.coefficients == spec.frame_coefficients() == (0, 0.5, 1)


def test_frames_do_not_follow_from_a_prior():
    assert between(coefficients=BetaPrior(3, 3)).frames == 7
    assert between(coefficients=BetaPrior(3, 3), frames=4).frames == 4


@pytest.mark.parametrize("frames", [7, 2, 4])
def test_frames_and_coefficients_that_differ(frames):
    with pytest.raises(e.CoefficientsError, match=f"got 3 .* frames={frames}; pass frames=3"):
        between(frames=frames, coefficients=[0, 0.5, 1])


# ---------------------------------------------------------------- checks


@pytest.mark.parametrize(
    ("error", "said", "wrong"),
    [
        (e.PromptError, "prompt_a", {"prompt_a": " "}),
        (e.PromptError, "prompt_b .* 3", {"prompt_b": 3}),
        (e.PromptError, "guide .* 3", {"guide": 3}),
        (e.PromptError, "5 interior frames; got 2", {"guide": ["x", "y"]}),
        (e.PromptError, "frames=2", {"guide": "x", "frames": 2}),
        (e.PromptError, "guide 2", {"guide": ["x", "", "x", "x", "x"]}),
        (e.PromptError, "reads no guide", {"guide": "x", "config": AIDConfig(mode="denoising")}),
        (e.PromptError, "negative_prompt .* 3", {"negative_prompt": 3}),
        (e.PromptError, "negative_prompt", {"negative_prompt": ["x", "y", "z"]}),
        (e.ConfigError, "config .* 'outer'", {"config": "outer"}),
        (e.ConfigError, "config .* {'mode'", {"config": {"mode": "outer"}}),
        (e.CoefficientsError, "frames .* 1$", {"frames": 1}),
        (e.CoefficientsError, "frames .* 1$", {"coefficients": [0.5]}),
        (e.CoefficientsError, "number 1 is nan", {"coefficients": [0, NAN, 1]}),
        (e.CoefficientsError, "number 2 is 0.5", {"coefficients": [0, 0.6, 0.5, 1]}),
        (e.CoefficientsError, "tensor", {"coefficients": torch.eye(2)}),
        (e.LatentsError, r"\(3, 4, 8, 8\)", {"latents": torch.zeros(3, 4, 8, 8)}),
        (e.LatentsError, "NaN", {"latents": torch.full((2, 4, 8, 8), NAN)}),
        (e.LatentsError, "torch.int64", {"latents": torch.zeros(2, 4, 8, 8, dtype=torch.int64)}),
        (e.LatentsError, "seed .* -1", {"seed": -1}),
        (e.LatentsError, r"seed .* \(1, 2, 3\)", {"seed": (1, 2, 3)}),
        (e.LatentsError, "seed .* 0.5", {"seed": 0.5}),
        (e.ArgumentError, "num_inference_steps .* 0", {"num_inference_steps": 0}),
        (e.ArgumentError, "guidance_scale .* nan", {"guidance_scale": NAN}),
        (e.ArgumentError, "output_type .* 'jpeg'", {"output_type": "jpeg"}),
        (e.ArgumentError, "chunk .* 0", {"chunk": 0}),
        (e.ArgumentError, "chunk .* 'all'", {"chunk": "all"}),
        (e.SelectionError, "select .* 'best'", {"select": "best"}),
        (e.SelectionError, "coefficients", {"select": "dynamic", "coefficients": BetaPrior(3, 3)}),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_each_wrong_value_is_named_without_a_pipeline(error, said, wrong):
    with pytest.raises(error, match=said):
        InterpolationSpec.between(**{"prompt_a": "a", "prompt_b": "b", **wrong})


def test_three_keyframes_are_not_accepted_yet():
    with pytest.raises(e.PromptError, match="two keyframes, got 3"):
        InterpolationSpec(keyframes=[Keyframe("a"), Keyframe("b"), Keyframe("c")])


# ---------------------------------------------------------------- JSON


def test_another_value_of_every_field_is_known():
    assert OTHER.keys() | {"keyframes", "latents"} == {entry.name for entry in fields(InterpolationSpec)}


@pytest.mark.parametrize("name", OTHER)
def test_every_field_goes_through_json(name):
    more = {"frames": 4} if name == "guide" else {}
    value = OTHER[name]
    spec = between(**(value if name == "stock" else {**more, name: value}))
    assert getattr(spec, name) == value
    assert getattr(spec, name) != getattr(between(), name)
    assert getattr(again(spec), name) == value
    assert again(spec).to_json() == spec.to_json()


def test_a_prior_goes_through_json():
    spec = between(coefficients=BetaPrior(2, 3))
    assert spec.to_json()["arguments"]["coefficients"] == {"beta_prior": [2, 3]}
    assert again(spec).coefficients == BetaPrior(2, 3)


def test_what_json_cannot_hold_is_named():
    document = between(select=Selection(distance=lambda a, b: a), image=torch.zeros(1, 3, 8, 8)).to_json()
    assert document["unrecorded"] == ["select", "image"]
    assert document["arguments"]["image"] == "Tensor"


@dataclass(frozen=True, eq=False)
class Extended(InterpolationSpec):
    """One argument more, in one place."""

    sharpness: float = field(default=0.25, metadata={"help": "How sharp."})


def test_a_new_field_is_an_argument_and_in_json():
    spec = Extended.between("a", "b", sharpness=0.5, eta=1.0)
    assert spec.stock == {"eta": 1.0}
    assert spec.to_json()["arguments"]["sharpness"] == 0.5
    assert again(spec).sharpness == 0.5

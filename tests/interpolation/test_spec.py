"""`InterpolationSpec`: defaults and signature, JSON, and frames from coefficients."""

import inspect
import json
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest
import torch

from aid_pipeline import AIDConfig, BetaPrior, Selection, interpolate
from aid_pipeline import errors as e
from aid_pipeline.spec import InterpolationSpec

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


def test_a_copy_with_other_coefficients_has_as_many_frames():
    given = between(coefficients=[0, 0.5, 1])
    assert replace(given, coefficients=(0, 0.2, 0.9, 1)).frames == 4
    assert replace(given, coefficients=None).frames == 7
    assert replace(between(), coefficients=(0, 1)).frames == 2
    assert replace(given, guidance_scale=1).frames == 3


def test_recorded_frames_are_asked_for():
    recorded = between().arguments()["frames"]
    with pytest.raises(e.CoefficientsError, match="frames=7"):
        between(frames=recorded, coefficients=(0, 1))


def test_a_copy_keeps_frames_that_were_asked_for():
    with pytest.raises(e.CoefficientsError, match="frames=7"):
        replace(between(frames=7), coefficients=(0, 1))


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
class OneFieldMore(InterpolationSpec):
    """One argument more, in one place."""

    sharpness: float = field(default=0.25, metadata={"help": "How sharp."})


def test_a_new_field_is_an_argument_and_in_json():
    spec = OneFieldMore.between("a", "b", sharpness=0.5, eta=1.0)
    assert spec.stock == {"eta": 1.0}
    assert spec.to_json()["arguments"]["sharpness"] == 0.5
    assert again(spec).sharpness == 0.5

"""Every argument of a sequence, wrong: a typed error with the value and what to do, before there is a pipeline."""

import tracemalloc
from dataclasses import fields

import numpy as np
import pytest
import torch

from aid_pipeline import AIDConfig, BetaPrior, interpolate
from aid_pipeline import errors as e
from aid_pipeline.keyframes import Keyframe
from aid_pipeline.spec import InterpolationSpec

NAN, INFINITY = float("nan"), float("inf")
TWO = {"keyframes": (Keyframe("a"), Keyframe("b"))}
MEMORY = 4 << 20  # bytes; a list of a thousand million frames has thousands of times as many

# of each field: the error, what it says, and the wrong value, with others that it needs
REFUSED = {
    "keyframes": [
        (e.PromptError, "two keyframes, got 3", {"keyframes": [Keyframe("a"), Keyframe("b"), Keyframe("c")]}),
        (e.PromptError, "two keyframes, got 0", {"keyframes": ()}),
        (e.PromptError, "got 'b'; for example Keyframe", {"keyframes": (Keyframe("a"), "b")}),
        (e.PromptError, "got 'ab'; for example Keyframe", {"keyframes": "ab"}),
        (e.PromptError, "got 3; for example Keyframe", {"keyframes": 3}),
        (e.PromptError, "prompt_a is empty; describe", {"keyframes": (Keyframe(" "), Keyframe("b"))}),
        (e.PromptError, "prompt_b must be a text, got 3", {"keyframes": (Keyframe("a"), Keyframe(3))}),
    ],
    "frames": [
        (e.CoefficientsError, "whole number >= 2 .* got 1$", {"frames": 1}),
        (e.CoefficientsError, "whole number >= 2 .* got 7.0$", {"frames": 7.0}),
        (e.CoefficientsError, "whole number >= 2 .* got '7'$", {"frames": "7"}),
        (e.CoefficientsError, "at most 10000, got 1000000000; generate several", {"frames": 10**9}),
        (e.CoefficientsError, "at most 10000, got 1000000000", {"frames": 10**9, "guide": "x"}),
        (e.CoefficientsError, "at most 10000, got 1000000000", {"frames": 10**9, "coefficients": BetaPrior(3, 3)}),
        (e.CoefficientsError, "got 3 .* frames=4; pass frames=3", {"frames": 4, "coefficients": [0, 0.5, 1]}),
    ],
    "config": [
        (e.ConfigError, "got 'outer'; for example AIDConfig", {"config": "outer"}),
        (e.ConfigError, "got {'mode'.*; for example AIDConfig", {"config": {"mode": "outer"}}),
    ],
    "guide": [
        (e.PromptError, "one prompt or a list of prompts, got 3", {"guide": 3}),
        (e.PromptError, "one for each of the 5 interior frames; got 2, .'x', 'y'", {"guide": ["x", "y"]}),
        (e.PromptError, "frames=2", {"guide": "x", "frames": 2}),
        (e.PromptError, "guide 2 is empty; describe", {"guide": ["x", "", "x", "x", "x"]}),
        (e.PromptError, "reads no guide; leave it out", {"guide": "x", "config": AIDConfig(mode="denoising")}),
    ],
    "coefficients": [
        (e.CoefficientsError, r"at least two numbers, 0 and 1, got \[0.0\]", {"coefficients": [0]}),
        (e.CoefficientsError, r"at least two numbers, 0 and 1, got \[\]", {"coefficients": []}),
        (e.CoefficientsError, "number 1 is nan", {"coefficients": [0, NAN, 1]}),
        (e.CoefficientsError, "must never decrease, but number 2 is 0.5", {"coefficients": [0, 0.6, 0.5, 1]}),
        (e.CoefficientsError, "start at 0 and end at 1, got 0.1", {"coefficients": [0.1, 1]}),
        (e.CoefficientsError, r"numbers from 0 to 1, got \['a'\]", {"coefficients": ["a"]}),
        (e.CoefficientsError, "numbers from 0 to 1, got .*0000", {"coefficients": [0, 10**400]}),
        (e.CoefficientsError, "numbers from 0 to 1, got tensor", {"coefficients": torch.eye(2)}),
        (e.CoefficientsError, "or a BetaPrior, got '3,3'", {"coefficients": "3,3"}),
    ],
    "latents": [
        (e.LatentsError, r"\(2, C, h, w\).*got \(3, 4, 8, 8\)", {"latents": torch.zeros(3, 4, 8, 8)}),
        (e.LatentsError, "NaN", {"latents": torch.full((2, 4, 8, 8), NAN)}),
        (e.LatentsError, "floating-point tensor, got torch.int64", {"latents": torch.zeros(2, 4, 8, 8).long()}),
        (e.LatentsError, "floating-point tensor, got list", {"latents": [0.0]}),
    ],
    "seed": [
        (e.LatentsError, "whole number from 0 .* got -1", {"seed": -1}),
        (e.LatentsError, "or a pair of them, got 0.5", {"seed": 0.5}),
        (e.LatentsError, r"or a pair of them, got \(1, 2, 3\)", {"seed": (1, 2, 3)}),
        (e.LatentsError, r"or a pair of them, got \(1,\)", {"seed": [1]}),
    ],
    "chunk": [
        (e.ArgumentError, '"auto" or a whole number >= 1, got 0', {"chunk": 0}),
        (e.ArgumentError, "\"auto\" or a whole number >= 1, got 'all'", {"chunk": "all"}),
    ],
    "num_inference_steps": [
        (e.ArgumentError, "whole number >= 1, got 0", {"num_inference_steps": 0}),
        (e.ArgumentError, "whole number >= 1, got 2.5", {"num_inference_steps": 2.5}),
        (e.ArgumentError, "at most 10000, got 1000000000; 25", {"num_inference_steps": 10**9}),
    ],
    "guidance_scale": [
        (e.ArgumentError, "finite number, got nan", {"guidance_scale": NAN}),
        (e.ArgumentError, "finite number, got '5'", {"guidance_scale": "5"}),
    ],
    "negative_prompt": [
        (e.PromptError, "one text, or one for each endpoint; got 3", {"negative_prompt": 3}),
        (e.PromptError, r"one for each endpoint; got \('x', 'y', 'z'\)", {"negative_prompt": ["x", "y", "z"]}),
    ],
    **{
        side: [
            (e.ArgumentError, f"{side} .* 8 pixels, got 20; try 16", {side: 20}),
            (e.ArgumentError, f"{side} .* 8 pixels, got 3; try 8", {side: 3}),
            (e.ArgumentError, f"{side} .* got 0; try 512", {side: 0}),
            (e.ArgumentError, f"{side} .* got -8; try 512", {side: -8}),
            (e.ArgumentError, f"{side} .* got 64.0; try 64", {side: 64.0}),
            (e.ArgumentError, f"{side} .* got nan; try 512", {side: NAN}),
            (e.ArgumentError, f"{side} .* got '64'; try 512", {side: "64"}),
            (e.ArgumentError, f"{side} .* got True; try 512", {side: True}),
        ]
        for side in ("height", "width")
    },
    "output_type": [(e.ArgumentError, "one of pil, pt, np, latent, got 'jpeg'", {"output_type": "jpeg"})],
    "select": [
        (e.SelectionError, "one of dynamic, bayes, got 'best'", {"select": "best"}),
        (e.SelectionError, "or a Selection, got 3", {"select": 3}),
        (e.SelectionError, "leave coefficients out", {"select": "dynamic", "coefficients": BetaPrior(3, 3)}),
    ],
    "stock": [
        (e.ArgumentError, '"eta": 0.5}, got 3', {"stock": 3}),
        (e.ArgumentError, '"eta": 0.5}, got None', {"stock": None}),
        (e.ArgumentError, 'such as "eta", got 3', {"stock": {3: 1}}),
        (e.ArgumentError, "finite number, got nan", {"stock": {"guidance_rescale": NAN}}),
        (e.ArgumentError, r"sigmas\[1\] must be a finite number, got inf", {"stock": {"sigmas": [1.0, INFINITY]}}),
        (e.ArgumentError, r"kwargs\['scale'\] .* got nan", {"stock": {"cross_attention_kwargs": {"scale": NAN}}}),
        (e.ArgumentError, "got 'x'; the two prompts come first", {"stock": {"prompt": "x"}}),
        (e.ArgumentError, "sets generator itself, .*; use seed", {"stock": {"generator": torch.Generator()}}),
        (e.ArgumentError, "got 2; call again with another seed", {"stock": {"num_images_per_prompt": 2}}),
        (e.ArgumentError, "sets return_dict itself, got False", {"stock": {"return_dict": False}}),
        (e.ArgumentError, "got frames=3; pass frames by itself", {"stock": {"frames": 3}}),
        (e.ArgumentError, "got prompt_a='x'; pass prompt_a by itself", {"stock": {"prompt_a": "x"}}),
    ],
}
CASES = [(name, *case) for name, cases in REFUSED.items() for case in cases]


@pytest.mark.parametrize(
    ("name", "error", "said", "wrong"),
    CASES,
    ids=[f"{name}-{number}" for name, cases in REFUSED.items() for number in range(len(cases))],
)
def test_a_wrong_value_is_named_with_what_to_do(name, error, said, wrong):
    assert name in wrong
    tracemalloc.start()
    try:
        with pytest.raises(error, match=said):
            InterpolationSpec(**{**TWO, **wrong})
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


ODD = [
    *(True, 0, -1, 10**400, -(10**400), 1.5, NAN, INFINITY, 1j, "", "x", b"ab", range(3), object(), type, len),
    *([], {}, set(), [None], ["x"], {"a": 1}, [[1, 2]], [NAN]),
    *(np.array(3), np.array([1, 2]), np.zeros((2, 2)), torch.tensor(3), torch.zeros(2)),
]


def refusals(build) -> int:
    """How many odd values are refused, each with an error of the package."""
    refused = 0
    for value in ODD:
        try:
            build(value)
        except e.AIDError:
            refused += 1
    return refused


@pytest.mark.parametrize("name", REFUSED)
def test_a_value_of_any_kind_is_taken_or_refused_with_an_error_of_the_package(name):
    assert refusals(lambda value: InterpolationSpec(**{**TWO, name: value})) > len(ODD) / 2


@pytest.mark.parametrize("name", [entry.name for entry in fields(AIDConfig)])
def test_a_configuration_takes_or_refuses_a_value_of_any_kind_likewise(name):
    assert refusals(lambda value: AIDConfig(**{name: value})) >= len(ODD) - 2


def test_every_argument_has_a_wrong_value():
    assert REFUSED.keys() == {entry.name for entry in fields(InterpolationSpec)}


def test_one_image_per_prompt_may_be_said():
    assert InterpolationSpec(**TWO, stock={"num_images_per_prompt": 1}).stock == {"num_images_per_prompt": 1}


@pytest.mark.parametrize("wrong", [{"height": 20}, {"generator": torch.Generator()}, {"eta": NAN}, {"stock": {}}])
def test_interpolate_refuses_before_it_looks_at_the_pipeline(wrong):
    with pytest.raises(e.ArgumentError, match=next(iter(wrong))):
        interpolate(None, "a", "b", **wrong)

"""Frames of replayed pipelines in float64, against an oracle that lerps the text and computes attention by itself."""

import inspect

import pytest
import torch
from torch.overrides import TorchFunctionMode

from aid_pipeline import AIDConfig, interpolate
from tests.support.oracle import AttentionOracle, Settings
from tests.support.replayed_pipelines import TOKENS, fresh
from tests.support.running import distance
from tests.support.variations import double

A, B, STEPS = "a red sphere", "the blue cube", 3
T = (0.0, 0.25, 1.0)  # exact in float32, in which the plan holds them
CALL = {"num_inference_steps": STEPS, "height": 16, "width": 16, "output_type": "latent", "max_sequence_length": TOKENS}
TOLERANCE = {"aura_flow": 1e-9}  # float64 on both sides
SINGLE = 1e-6  # of pipelines that keep positions or latents in float32
GROUPS = {"aura_flow": "front", "cogview3": "front", "bria": "front", "z_image": "back"}
"""Two streams, one stream, packed tokens, lists of complex rotary tokens; where the negative rows are."""


class Oracle(AttentionOracle):
    """Also of calls whose negative rows come last, and of masks that are expanded over the queries."""

    def conditional_rows(self, rows):
        return range(3) if rows == 6 and self.negative_rows == "back" else super().conditional_rows(rows)


class SingleNoise(TorchFunctionMode):
    """Noise is drawn in float32: a generator's stream depends on the dtype."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.randn and kwargs.get("dtype") == torch.float64:
            return func(*args, **kwargs | {"dtype": torch.float32}).double()
        return func(*args, **kwargs)


def lerped(first, last, t):
    """What an encoder would return for a text between two, and the two around it, by hand."""
    if isinstance(first, tuple):
        return tuple(lerped(*pair, t) for pair in zip(first, last, strict=True))
    if isinstance(first, list) and first:
        a, b = first[0], last[0]
        length = max(len(a), len(b))
        both = [torch.cat([part, part.new_zeros(length - len(part), part.shape[1])]) for part in (a, b)]
        return [a, (1 - t) * both[0] + t * both[1], b]
    if not isinstance(first, torch.Tensor) or first.shape[0] != 1:
        return first
    middle = (1 - t) * first + t * last if first.is_floating_point() else torch.maximum(first, last)
    return torch.cat([first, middle, last])


def oracle_frames(pipe, name, mode, guidance_scale):
    """Final latents of the three frames; the encoder is called for each endpoint alone."""
    encode = pipe.encode_prompt

    def three(*args, **kwargs):
        call = inspect.signature(encode).bind(*args, **kwargs).arguments
        ends = [call | {"prompt": [text]} for text in (A, B)]
        return lerped(*(encode(**end) for end in ends), T[1])

    object.__setattr__(pipe, "encode_prompt", three)
    oracle = Oracle(pipe.transformer, T[1], STEPS, Settings(mode=mode, warmup=1.0), GROUPS[name])
    try:
        with torch.no_grad(), oracle:
            generators = [torch.Generator().manual_seed(0) for _ in T]
            made = pipe([A, "", B], generator=generators, guidance_scale=guidance_scale, **CALL).images
        assert oracle.interpolated
        return made
    finally:
        object.__delattr__(pipe, "encode_prompt")


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("mode", ["outer", "inner"])
@pytest.mark.parametrize("guidance_scale", [0.0, 3.0])
def test_frames_are_the_oracle_s(name, mode, guidance_scale):
    pipe = double(fresh(name))
    config = AIDConfig(mode=mode, warmup=1.0, impl="sdpa")
    with SingleNoise():
        made = interpolate(pipe, A, B, coefficients=T, config=config, guidance_scale=guidance_scale, **CALL).images
    expected = oracle_frames(pipe, name, mode, guidance_scale)
    tolerance = TOLERANCE.get(name, SINGLE)
    assert distance(made, expected) < tolerance
    with SingleNoise():
        plain = interpolate(
            pipe, A, B, coefficients=T, config=AIDConfig(mode="none"), guidance_scale=guidance_scale, **CALL
        ).images
    assert distance(plain[1:2], expected[1:2]) > 100 * tolerance

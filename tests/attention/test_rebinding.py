"""Rebound processors: which classes can be, whose state they share, what they leave alone."""

import gc
import inspect
import pkgutil
import sys
from importlib import import_module

import diffusers
import diffusers.models
import pytest
import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import (
    Attention,
    AttnProcessor2_0,
    IPAdapterAttnProcessor2_0,
    SD3IPAdapterJointAttnProcessor2_0,
)

from aid_kernels import InterpolationPlan, inner_attention
from aid_pipeline import AIDConfig
from aid_pipeline.attention.kv_bank import LayerCache
from aid_pipeline.attention.rebinding import is_rebound, rebind
from aid_pipeline.attention.state import AttentionContext, DenoiserState
from aid_pipeline.errors import UnsupportedPipelineError


@pytest.fixture
def layer():
    """One cross-attention layer and its denoiser's state."""
    torch.manual_seed(0)
    attention = Attention(query_dim=16, cross_attention_dim=24, heads=2, dim_head=8).requires_grad_(False)
    return attention, DenoiserState.of(attention)


def rebound(attention, state, linear_cross=False):
    return rebind(attention.processor, state, LayerCache("layer"), linear_cross, attention)


SEQUENCE = InterpolationPlan.sequence([0.0, 0.3, 1.0])


def test_attention_goes_to_the_operator_and_everything_else_stays(layer):
    attention, state = layer
    hidden, text = torch.randn(3, 10, 16), torch.randn(3, 7, 24)
    stock = attention(hidden, text)
    attention.set_processor(rebound(attention, state))
    assert torch.equal(attention(hidden, text), stock)
    state.current = AttentionContext(SEQUENCE, AIDConfig(mode="outer", fuse_self=False))
    out = attention(hidden, text)
    assert torch.equal(out[[0, 2]], stock[[0, 2]])

    q, k, v = (
        states.unflatten(-1, (2, 8)).transpose(1, 2)
        for states in (attention.to_q(hidden), attention.to_k(text), attention.to_v(text))
    )
    mixed = 0.7 * F.scaled_dot_product_attention(q[1], k[0], v[0]) + 0.3 * F.scaled_dot_product_attention(
        q[1], k[2], v[2]
    )
    expected = attention.to_out[0](mixed.transpose(0, 1).flatten(1))
    torch.testing.assert_close(out[1], expected, rtol=1e-5, atol=1e-6)
    state.current = None
    assert torch.equal(attention(hidden, text), stock)


def test_the_original_is_not_touched_and_its_state_is_shared():
    processor = IPAdapterAttnProcessor2_0(hidden_size=16, cross_attention_dim=24, num_tokens=[4], scale=0.5)
    attention = Attention(query_dim=16, cross_attention_dim=24, heads=2, dim_head=8, processor=processor)
    before = {name: id(value) for name, value in vars(processor).items()}
    made = rebound(attention, DenoiserState.of(attention))
    assert isinstance(made, IPAdapterAttnProcessor2_0)
    assert is_rebound(made)
    assert not is_rebound(processor)
    assert [id(p) for p in made.parameters()] == [id(p) for p in processor.parameters()]
    made.scale = [0.9]
    assert processor.scale == [0.9]
    assert {name: id(value) for name, value in vars(processor).items() if name != "scale"} == {
        name: value for name, value in before.items() if name != "scale"
    }
    # attention modules read the signature to see what they may pass on
    assert inspect.signature(made.__call__) == inspect.signature(processor.__call__)


def test_one_class_per_processor_class_and_denoiser(layer):
    attention, state = layer
    assert type(rebound(attention, state)) is type(rebound(attention, state))
    assert type(rebound(attention, state)) is not type(rebound(attention, state, linear_cross=True))
    other = Attention(query_dim=16, heads=2, dim_head=8)
    assert type(rebound(attention, state)) is not type(rebound(other, DenoiserState.of(other)))


def test_globals_are_a_registered_module_that_goes_with_the_denoiser():
    attention = Attention(query_dim=16, heads=2, dim_head=8)
    made = rebound(attention, DenoiserState.of(attention))
    code_globals = type(made).__call__.__wrapped__.__globals__
    name = code_globals["__name__"]
    assert sys.modules[name].__dict__ is code_globals
    assert code_globals["F"] is not F
    assert inspect.getmodule(AttnProcessor2_0).F is F
    del attention, made
    gc.collect()
    assert name not in sys.modules


def _attend(query, key, value):
    return F.scaled_dot_product_attention(query, key, value)


def _twice(query, key, value):
    return [_attend(part, key, value) for part in query.chunk(2, dim=2)]


class WithHelpers:
    """Reaches the primitive through functions, a method and a comprehension."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        states = hidden_states.unflatten(-1, (2, 8)).transpose(1, 2)
        return self._run(states).transpose(1, 2).flatten(2)

    def _run(self, states):
        return torch.cat(_twice(states, states, states), dim=2)


class Inheriting(WithHelpers):
    def _run(self, states):
        return super()._run(states)


class InFull:
    def __call__(self, attn, hidden_states):
        return torch.nn.functional.scaled_dot_product_attention(hidden_states, hidden_states, hidden_states)


def test_helpers_that_call_the_primitive_are_rebound_too(layer):
    attention, state = layer
    attention.set_processor(WithHelpers())
    hidden = torch.randn(3, 6, 16)
    stock = attention(hidden)
    attention.set_processor(rebound(attention, state))
    assert torch.equal(attention(hidden), stock)
    state.current = AttentionContext(SEQUENCE, AIDConfig(mode="inner"))
    states = hidden.unflatten(-1, (2, 8)).transpose(1, 2)
    expected = inner_attention(states, states, states, SEQUENCE).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(hidden), expected)
    assert not torch.allclose(expected[1], stock[1], atol=1e-3)


def test_ways_around_the_globals_are_refused(layer):
    attention, state = layer
    attention.set_processor(Inheriting())
    with pytest.raises(UnsupportedPipelineError, match="super"):
        rebound(attention, state)
    attention.set_processor(InFull())
    with pytest.raises(UnsupportedPipelineError, match="in full"):
        rebound(attention, state)


def test_both_attentions_of_an_sd3_image_adapter_are_interpolated():
    """Its second one, of the image with the adapter's keys, demands the stock call's memory layout."""
    torch.manual_seed(0)
    attention = Attention(
        query_dim=16, heads=2, dim_head=8, added_kv_proj_dim=16, context_pre_only=False, bias=True, out_dim=16
    )
    attention.set_processor(SD3IPAdapterJointAttnProcessor2_0(16, 16, 8, timesteps_emb_dim=12, scale=1.0))
    attention.requires_grad_(False)
    state = DenoiserState.of(attention)
    hidden, text, image, emb = torch.randn(3, 9, 16), torch.randn(3, 5, 16), torch.randn(3, 4, 16), torch.randn(3, 12)
    stock = attention(hidden, text, ip_hidden_states=image, temb=emb)
    layer = LayerCache("layer")
    attention.set_processor(rebind(attention.processor, state, layer, False, attention))
    state.current = AttentionContext(SEQUENCE, AIDConfig(mode="inner"))
    out = attention(hidden, text, ip_hidden_states=image, temb=emb)
    assert layer.calls == len(layer.served) == 2
    for made, plain in zip(out, stock, strict=True):
        assert torch.equal(made[[0, 2]], plain[[0, 2]])
        assert not torch.allclose(made[1], plain[1], atol=1e-4)
    image[2] = torch.randn(4, 16)  # the last frame's image reaches the frame between by the second attention only
    other = attention(hidden, text, ip_hidden_states=image, temb=emb)
    assert not torch.allclose(other[0][1], out[0][1], atol=1e-4)
    assert torch.equal(other[1][1], out[1][1])


def _processor_classes():
    """Every processor class of diffusers' models, once."""
    found = {}
    for info in pkgutil.walk_packages(diffusers.models.__path__, "diffusers.models."):
        try:
            module = import_module(info.name)
        except (ImportError, RuntimeError):
            continue  # needs a package that is not installed
        for name, value in vars(module).items():
            if isinstance(value, type) and "Processor" in name and "__call__" in vars(value):
                found[value] = name
    return sorted(found, key=lambda cls: cls.__name__)


@pytest.mark.slow
def test_most_processor_classes_of_diffusers_can_be_rebound():
    """111 of 128 in diffusers 0.42.1; the others, among them xFormers and explicit softmax, say so by name."""
    state, owner, refused = DenoiserState(), torch.nn.Module(), {}
    classes = _processor_classes()
    for cls in classes:
        try:
            rebind(object.__new__(cls), state, LayerCache(cls.__name__), False, owner)
        except UnsupportedPipelineError as error:
            refused[cls.__name__] = str(error)
    assert len(classes) > 100
    assert len(refused) < len(classes) / 5, sorted(refused)
    assert all(name in message for name, message in refused.items())

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
    AttnProcessor,
    AttnProcessor2_0,
    IPAdapterAttnProcessor2_0,
    SanaLinearAttnProcessor2_0,
    SD3IPAdapterJointAttnProcessor2_0,
    SlicedAttnProcessor,
    XFormersAttnProcessor,
)
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor

from aid_kernels import InterpolationPlan, inner_attention, outer_attention
from aid_pipeline import AIDConfig
from aid_pipeline.attention.kv_bank import Layer
from aid_pipeline.attention.rebinding import is_rebound, rebind
from aid_pipeline.attention.state import DenoiserState, Pass
from aid_pipeline.errors import UnsupportedAttentionError, UnsupportedPipelineError


@pytest.fixture
def layer():
    """One cross-attention layer and its denoiser's state."""
    torch.manual_seed(0)
    attention = Attention(query_dim=16, cross_attention_dim=24, heads=2, dim_head=8).requires_grad_(False)
    return attention, DenoiserState.of(attention)


def rebound(attention, state, linear_cross=False):
    return rebind(attention.processor, state, Layer("layer"), linear_cross, attention)


SEQUENCE = InterpolationPlan.sequence([0.0, 0.3, 1.0])


def test_attention_goes_to_the_operator_and_everything_else_stays(layer):
    attention, state = layer
    hidden, text = torch.randn(3, 10, 16), torch.randn(3, 7, 24)
    stock = attention(hidden, text)
    attention.set_processor(rebound(attention, state))
    assert torch.equal(attention(hidden, text), stock)
    state.current = Pass(SEQUENCE, AIDConfig(mode="outer", fuse_self=False))
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


@pytest.mark.parametrize(
    "processor",
    [AttnProcessor(), SlicedAttnProcessor(1), XFormersAttnProcessor(), SanaLinearAttnProcessor2_0()],
    ids=lambda p: type(p).__name__,
)
def test_a_class_without_the_primitive_names_itself(processor):
    attention = Attention(query_dim=16, heads=2, dim_head=8, processor=processor)
    with pytest.raises(UnsupportedPipelineError, match=type(processor).__name__):
        rebound(attention, DenoiserState.of(attention))


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
    state.current = Pass(SEQUENCE, AIDConfig(mode="inner"))
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


def test_dispatch_has_its_own_layout_and_masks(layer):
    attention, state = layer
    made = rebind(FluxAttnProcessor(), state, Layer("layer"), False, attention)
    dispatch = type(made).__call__.__wrapped__.__globals__["dispatch_attention_fn"]
    q, k, v = torch.randn(3, 3, 5, 2, 8)  # (B, S, H, D)
    visible = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [1, 1, 0, 0, 1]]).bool()
    state.current = Pass(SEQUENCE, AIDConfig())
    state.enter(Layer("layer"))
    out = dispatch(q, k, v, attn_mask=visible)
    expected = outer_attention(
        *(part.transpose(1, 2) for part in (q, k, v)), SEQUENCE, key_mask=visible, bank_mask=visible
    ).transpose(1, 2)
    assert torch.equal(out, expected)
    state.current = None
    assert torch.equal(dispatch(q, k, v, attn_mask=visible)[0], out[0])


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
    layer = Layer("layer")
    attention.set_processor(rebind(attention.processor, state, layer, False, attention))
    state.current = Pass(SEQUENCE, AIDConfig(mode="inner"))
    out = attention(hidden, text, ip_hidden_states=image, temb=emb)
    assert layer.calls == len(layer.served) == 2
    for made, plain in zip(out, stock, strict=True):
        assert torch.equal(made[[0, 2]], plain[[0, 2]])
        assert not torch.allclose(made[1], plain[1], atol=1e-4)
    image[2] = torch.randn(4, 16)  # the last frame's image reaches the frame between by the second attention only
    other = attention(hidden, text, ip_hidden_states=image, temb=emb)
    assert not torch.allclose(other[0][1], out[0][1], atol=1e-4)
    assert torch.equal(other[1][1], out[1][1])


@pytest.mark.parametrize("argument", [{"is_causal": True}, {"dropout_p": 0.1}, {"enable_gqa": True}], ids=str)
def test_what_cannot_be_interpolated_is_refused(layer, argument):
    attention, state = layer
    sdpa = type(rebound(attention, state)).__call__.__wrapped__.__globals__["F"].scaled_dot_product_attention
    q = torch.randn(3, 2, 4, 8)
    assert sdpa(q, q, q, **argument).shape == q.shape
    state.current = Pass(SEQUENCE, AIDConfig())
    with pytest.raises(UnsupportedAttentionError, match=next(iter(argument))):
        sdpa(q, q, q, **argument)


@pytest.mark.parametrize("shape", [(3, 2, 4, 4), (4, 4), (3, 4)], ids=str)
def test_a_mask_of_more_than_keys_is_refused(layer, shape):
    attention, state = layer
    sdpa = type(rebound(attention, state)).__call__.__wrapped__.__globals__["F"].scaled_dot_product_attention
    q = torch.randn(3, 2, 4, 8)
    state.current = Pass(SEQUENCE, AIDConfig())
    state.enter(Layer("layer"))
    with pytest.raises(UnsupportedAttentionError, match="mask"):
        sdpa(q, q, q, attn_mask=torch.zeros(shape))


def test_additive_masks_hide_keys_of_both_ends(layer):
    """An interpolated key of inner attention is visible at either end."""
    attention, state = layer
    sdpa = type(rebound(attention, state)).__call__.__wrapped__.__globals__["F"].scaled_dot_product_attention
    q, k, v = torch.randn(3, 3, 2, 4, 8)
    visible = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0]]).bool()
    bias = torch.zeros(3, 2, 1, 4).masked_fill(~visible[:, None, None], -10000.0)
    state.current = Pass(SEQUENCE, AIDConfig(mode="inner", fuse_self=False))
    state.enter(Layer("layer"))
    out = sdpa(q, k, v, attn_mask=bias)
    assert torch.equal(out[[0, 2]], F.scaled_dot_product_attention(q, k, v, attn_mask=bias)[[0, 2]])
    mixed_key, mixed_value = (0.7 * part[0] + 0.3 * part[2] for part in (k, v))
    either = F.scaled_dot_product_attention(q[1], mixed_key[:, :3], mixed_value[:, :3])
    torch.testing.assert_close(out[1], either)


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
            rebind(object.__new__(cls), state, Layer(cls.__name__), False, owner)
        except UnsupportedPipelineError as error:
            refused[cls.__name__] = str(error)
    assert len(classes) > 100
    assert len(refused) < len(classes) / 5, sorted(refused)
    assert all(name in message for name, message in refused.items())

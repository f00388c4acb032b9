"""Interpolated primitives: the operator behind the stock signatures, and what is refused."""

import pytest
import torch
import torch.nn.functional as F

from aid_kernels import InterpolationPlan, outer_attention
from aid_pipeline import AIDConfig
from aid_pipeline.attention.kv_bank import LayerCache
from aid_pipeline.attention.primitives import interpolated_primitives
from aid_pipeline.attention.state import AttentionContext, DenoiserState
from aid_pipeline.errors import UnsupportedAttentionError

SEQUENCE = InterpolationPlan.sequence([0.0, 0.3, 1.0])


@pytest.fixture
def state():
    return DenoiserState()


def test_dispatch_has_its_own_layout_and_masks(state):
    dispatch = interpolated_primitives(state, linear_cross=False)["dispatch_attention_fn"]
    q, k, v = torch.randn(3, 3, 5, 2, 8)  # (B, S, H, D)
    visible = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [1, 1, 0, 0, 1]]).bool()
    state.current = AttentionContext(SEQUENCE, AIDConfig())
    state.enter(LayerCache("layer"))
    out = dispatch(q, k, v, attn_mask=visible)
    expected = outer_attention(
        *(part.transpose(1, 2) for part in (q, k, v)), SEQUENCE, key_mask=visible, bank_mask=visible
    ).transpose(1, 2)
    assert torch.equal(out, expected)
    state.current = None
    assert torch.equal(dispatch(q, k, v, attn_mask=visible)[0], out[0])


@pytest.mark.parametrize("argument", [{"is_causal": True}, {"dropout_p": 0.1}, {"enable_gqa": True}], ids=str)
def test_what_cannot_be_interpolated_is_refused(state, argument):
    sdpa = interpolated_primitives(state, linear_cross=False)["scaled_dot_product_attention"]
    q = torch.randn(3, 2, 4, 8)
    assert sdpa(q, q, q, **argument).shape == q.shape
    state.current = AttentionContext(SEQUENCE, AIDConfig())
    with pytest.raises(UnsupportedAttentionError, match=next(iter(argument))):
        sdpa(q, q, q, **argument)


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (2, 1, 4, 4), (3, 4)], ids=str)
def test_a_mask_that_does_not_fit_is_refused(state, shape):
    sdpa = interpolated_primitives(state, linear_cross=False)["scaled_dot_product_attention"]
    q = torch.randn(3, 2, 4, 8)
    state.current = AttentionContext(SEQUENCE, AIDConfig())
    state.enter(LayerCache("layer"))
    with pytest.raises(UnsupportedAttentionError, match="mask"):
        sdpa(q, q, q, attn_mask=torch.zeros(shape))


def test_additive_masks_hide_keys_of_both_ends(state):
    """An interpolated key of inner attention is visible at either end."""
    sdpa = interpolated_primitives(state, linear_cross=False)["scaled_dot_product_attention"]
    q, k, v = torch.randn(3, 3, 2, 4, 8)
    visible = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0]]).bool()
    bias = torch.zeros(3, 2, 1, 4).masked_fill(~visible[:, None, None], -10000.0)
    state.current = AttentionContext(SEQUENCE, AIDConfig(mode="inner", fuse_self=False))
    state.enter(LayerCache("layer"))
    out = sdpa(q, k, v, attn_mask=bias)
    assert torch.equal(out[[0, 2]], F.scaled_dot_product_attention(q, k, v, attn_mask=bias)[[0, 2]])
    mixed_key, mixed_value = (0.7 * part[0] + 0.3 * part[2] for part in (k, v))
    either = F.scaled_dot_product_attention(q[1], mixed_key[:, :3], mixed_value[:, :3])
    torch.testing.assert_close(out[1], either)

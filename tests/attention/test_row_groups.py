"""Layers of k times the rows, of rows of their own, and of head sizes the operator does not take, on one bare layer."""

import pytest
import torch
import torch.nn.functional as F

from aid_kernels import InterpolationPlan
from aid_pipeline import AIDConfig
from aid_pipeline.attention.kv_bank import LayerCache, collect
from aid_pipeline.attention.primitives import interpolated_primitives
from aid_pipeline.attention.row_groups import groups_of
from aid_pipeline.attention.state import AttentionContext, DenoiserState
from aid_pipeline.errors import UnsupportedAttentionError
from tests.support.oracle import interpolated_attention

T, GROUPS, HEADS, LENGTH = 0.25, 4, 2, 5
PLAN = InterpolationPlan.concat([InterpolationPlan.plain(1), InterpolationPlan.sequence([0.0, T, 1.0])])
MASKS = {
    "none": None,
    "keys": (4 * GROUPS, 1, 1, LENGTH),
    "query": (4 * GROUPS, 1, LENGTH, LENGTH),
    "heads": (1, HEADS, LENGTH, LENGTH),
}


def draw(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 4 * GROUPS, HEADS, LENGTH, size, generator=generator, dtype=torch.float64)


def state_of(context):
    state = DenoiserState()
    state.current = context
    state.enter(LayerCache("layer"))
    return state


def expected_of(qkv, bias, mode):
    """Group by group, frame by frame: rows are (negative, first, frame, last), each of GROUPS groups."""
    out = F.scaled_dot_product_attention(*qkv, attn_mask=bias).unflatten(0, (4, GROUPS))
    query, key, value = (part.unflatten(0, (4, GROUPS)) for part in qkv)
    bias = bias.unflatten(0, (4, GROUPS))
    for group in range(GROUPS):
        for head in range(HEADS):
            for i in range(LENGTH):
                out[2, group, head, i] = interpolated_attention(
                    query[2, group, head : head + 1, i : i + 1],
                    key[1:, group, head : head + 1],
                    value[1:, group, head : head + 1],
                    bias[1:, group, head, i],
                    T,
                    mode,
                    True,
                    query.shape[-1] ** -0.5,
                )[0, 0]
    return out.flatten(0, 1)


@pytest.mark.parametrize("size", [8, 6, 20])
@pytest.mark.parametrize("masked", MASKS)
@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_each_group_meets_the_same_group_of_the_endpoints(mode, masked, size):
    qkv, shape = draw(size), MASKS[masked]
    shown = torch.rand(shape or (1,), generator=torch.Generator().manual_seed(1)) < 0.7
    if shape:
        shown[..., 0] = True
    bias = torch.zeros(shown.shape, dtype=torch.float64).masked_fill(~shown, -torch.inf) if shape else torch.zeros(1)
    bias = bias.double().expand(4 * GROUPS, HEADS, LENGTH, LENGTH)
    expected = expected_of(qkv, bias, mode)
    mask = shown if shape else None
    for impl in ("sdpa", "reference"):
        config = AIDConfig(mode=mode, impl=impl)
        state = state_of(AttentionContext(PLAN, config))
        out = interpolated_primitives(state, False)["scaled_dot_product_attention"](*qkv, attn_mask=mask)
        assert (out - expected).abs().max() < 1e-12
        assert (out - F.scaled_dot_product_attention(*qkv, attn_mask=mask)).abs().max() > 1e-3


def test_chunks_read_the_groups_of_the_bank():
    qkv = draw(6)
    config = AIDConfig(mode="outer", impl="sdpa")
    bias = torch.zeros(4 * GROUPS, HEADS, LENGTH, LENGTH, dtype=torch.float64)
    state, layer = DenoiserState(), LayerCache("layer")
    attend = interpolated_primitives(state, False)["scaled_dot_product_attention"]
    rows = {row: slice(row * GROUPS, (row + 1) * GROUPS) for row in range(4)}
    contexts = [AttentionContext(None, config, rows=1, saved_rows=1)] * 2
    contexts += [AttentionContext(PLAN.select([2], bank=[1, 3]), config, rows=1, reads_bank=True)]
    for row, context in zip((1, 3, 2), contexts, strict=True):
        state.current = context
        state.enter(layer)
        out = attend(*(part[rows[row]] for part in qkv))
        if context.saved_rows:
            collect([layer])
    assert (out - expected_of(qkv, bias, "outer")[rows[2]]).abs().max() < 1e-12


def test_rows_of_its_own_are_left_plain_and_said():
    qkv = draw(8)[:, :3]
    state = state_of(AttentionContext(PLAN, AIDConfig(impl="sdpa")))
    out = interpolated_primitives(state, False)["scaled_dot_product_attention"](*qkv)
    assert torch.equal(out, F.scaled_dot_product_attention(*qkv))
    assert "3 rows" in state.layer.plain
    assert [groups_of(batch, 4) for batch in (0, 1, 4, 6, 8)] == [None, None, 1, None, 2]


def test_a_named_kernel_that_cannot_serve_a_mask_is_refused_by_the_layers_name():
    state = state_of(AttentionContext(PLAN, AIDConfig(impl="triton")))
    attend = interpolated_primitives(state, False)["scaled_dot_product_attention"]
    with pytest.raises(UnsupportedAttentionError, match="layer layer has a mask that differs by query"):
        attend(*draw(8)[:, :4], attn_mask=torch.zeros(4, 1, LENGTH, LENGTH, dtype=torch.float64))


def test_heads_too_large_are_refused_by_the_layers_name():
    state = state_of(AttentionContext(PLAN, AIDConfig(impl="sdpa")))
    with pytest.raises(UnsupportedAttentionError, match="layer layer has heads of 260 channels"):
        interpolated_primitives(state, False)["scaled_dot_product_attention"](*draw(260)[:, :4])

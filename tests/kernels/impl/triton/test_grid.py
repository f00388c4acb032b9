"""Grids of the launches: CUDA takes 65,535 blocks along the second and third axis, so that all lies along the first."""

from __future__ import annotations

import pytest
import torch

from aid_kernels import InterpolationPlan
from aid_kernels.interpolated_attention.inputs import AttentionInputs
from tests.testing import OPS, Case, assert_accepted

LIMITS = (2**31 - 1, 65535, 65535)
MANY = 70_000


def inputs_of(rows: int, heads: int, length: int, keys: int, sources: int = 2) -> AttentionInputs:
    """A call with nothing but interpolated rows that takes hardly any memory."""
    zero = torch.zeros(1, 1, 1, 8, dtype=torch.float16)
    query, own = zero.expand(rows, heads, length, 8), zero.expand(rows, heads, keys, 8)
    plan = InterpolationPlan(
        torch.arange(sources, dtype=torch.int32).expand(rows, sources), torch.full((rows, sources), 1 / sources)
    )
    return AttentionInputs(query, own, own, own, own, None, None, plan, True, 1.0)


@pytest.mark.parametrize(
    ("rows", "heads", "length", "keys"),
    [(MANY, 1, 1, 129), (2, MANY, 1, 129), (1, 1, 64 * MANY, 129), (1, 1, 1, 64 * MANY), (MANY, 24, 64, 129)],
    ids=["rows", "heads", "queries", "source keys", "all"],
)
def test_no_axis_is_longer_than_a_gpu_takes(rows: int, heads: int, length: int, keys: int) -> None:
    from aid_kernels.interpolated_attention.impl.triton.launch import attention_launch, lerp_launch

    inputs = inputs_of(rows, heads, length, keys)
    mixed = inputs._replace(bank_mask=torch.zeros(1, 1, dtype=torch.bool).expand(rows, keys))
    output = inputs.query
    launches = [
        attention_launch("outer", "sm_90", inputs, output),
        attention_launch("inner_premixed", "sm_90", inputs, output),
        attention_launch("inner_fused", "sm_80", inputs, output),
        lerp_launch(inputs, mixed),
    ]
    for launch in launches:
        assert all(size <= limit for size, limit in zip(launch.grid, LIMITS, strict=False))
    programs = 1
    for size in launches[-1].grid:
        programs *= size
    assert programs == rows * heads * -(-keys // 64)


@pytest.mark.parametrize("masks", ["none", "some"])
@pytest.mark.parametrize("heads", [1, 3])
def test_every_mixed_block_is_made(heads: int, masks: str) -> None:
    """Several blocks, heads and rows: each program finds its own."""
    weights = ((0.0, 0.0), (0.7, 0.3), (0.2, 0.8), (0.0, 0.0), (0.5, 0.5))
    case = Case("inner", weights=weights, sources=((0, 2), (0, 2), (2, 1), (0, 2), (1, 0)), bank=(3, 200), heads=heads)
    case = case.but(masks=masks, query_length=5, key_length=7, head_dim=16)
    assert_accepted(OPS["inner"](**case.inputs(), impl="triton"), "inner", case.inputs())


def test_many_interpolated_rows() -> None:
    """The last row's last block; as many rows as a grid's other axes cannot hold would take minutes here."""
    from aid_kernels.interpolated_attention.impl.triton.forward import premixed

    inputs = inputs_of(40, 1, 1, 129)
    key = torch.randn(2, 1, 129, 8, dtype=torch.float16)
    mixed = premixed(inputs._replace(bank_key=key, bank_value=key))
    torch.testing.assert_close(mixed.bank_key[-1], ((key[0].float() + key[1].float()) / 2).half())

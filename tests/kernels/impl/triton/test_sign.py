"""Scales below and at zero in every dtype: the kernels turn the queries' sign, also for the interpreter's bfloat16."""

from __future__ import annotations

import pytest
import torch

from tests.testing import Case, assert_accepted, run_triton

DTYPES = [torch.bfloat16, torch.float16, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scale", [-0.3, -1e-3, 0.0, 0.3])
@pytest.mark.parametrize(
    "case",
    [
        Case(head_dim=16),
        # two tiles of queries
        Case(head_dim=40, masks="some"),
        Case(mode="inner", head_dim=80),
        # keys mixed in a launch of their own
        Case(mode="inner", head_dim=16, bank=(3, 150), fuse_self=False),
    ],
    ids=str,
)
def test_the_sign_of_a_scale(case: Case, scale: float, dtype: torch.dtype) -> None:
    case = case.but(scale=scale, dtype=dtype, heads=1)
    out = run_triton(case)
    assert out.isfinite().all()
    assert_accepted(out, case.mode, case.inputs())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_negative_scale_is_the_positive_one_of_negative_queries(dtype: torch.dtype) -> None:
    case = Case(dtype=dtype, heads=1, scale=-0.3)
    assert torch.equal(run_triton(case), run_triton(case.but(scale=0.3), q=-case.inputs()["q"]))

"""Segments that weigh nothing: keys whose logits are all -inf, or finite and lower than any other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aid_kernels.interpolated_attention.impl import log_sum_exp_ops
from aid_kernels.interpolated_attention.impl.log_sum_exp_ops import attend
from tests.testing import OPS, Case, oracle

IMPLEMENTATIONS = ["sdpa", "triton", "reference"]
LOG2_E = 1.4426950408889634


def assert_like_the_oracle(mode: str, arguments: dict[str, Any], impl: str) -> Tensor:
    """NaN where the oracle is, close elsewhere."""
    out, exact = OPS[mode](**arguments, impl=impl), oracle(mode, arguments)
    precise = 16 * torch.finfo(out.dtype).eps
    torch.testing.assert_close(out.double(), exact, rtol=precise, atol=precise, equal_nan=True)
    return out


def positive(**changes: Any) -> dict[str, Any]:
    """A call whose logits have the sign of its keys."""
    arguments = Case(**changes).inputs()
    arguments["q"] = arguments["q"].abs() + 0.1
    return arguments


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("fuse_self", [True, False])
@pytest.mark.parametrize("mode", OPS)
def test_a_source_that_weighs_nothing(mode: str, fuse_self: bool, dtype: torch.dtype, impl: str) -> None:
    """Row 1 mixes source 0, whose keys are -inf."""
    arguments = positive(mode=mode, fuse_self=fuse_self, dtype=dtype)
    arguments["k"][0] = -torch.inf
    out = assert_like_the_oracle(mode, arguments, impl)
    assert out[0].isnan().all()
    assert out[1].isfinite().all() == fuse_self


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("masks", ["none", "some", "blind"])
def test_own_keys_that_weigh_nothing(masks: str, impl: str) -> None:
    """Row 1's own keys, in two heads: what it gets is the sources'; and nothing where a mask hides those."""
    arguments = positive(masks=masks, head_dim=64)
    arguments["k"][1, :2] = -torch.inf
    out = assert_like_the_oracle("outer", arguments, impl)
    assert out[1, :2].isfinite().all()


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_nothing_weighs_anything(impl: str) -> None:
    """Both segments, or the one that is visible: NaN, as a softmax of -inf alone; but zeros where none is seen."""
    arguments = positive()
    arguments["k"][:] = -torch.inf
    assert assert_like_the_oracle("outer", arguments, impl).isnan().all()
    mask = torch.ones(3, 37, dtype=torch.bool)
    mask[2] = False
    assert assert_like_the_oracle("outer", arguments | dict(bank_mask=mask), impl)[1].isnan().all()
    assert assert_like_the_oracle("outer", arguments | dict(key_mask=mask), impl)[2].eq(0).all()


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_only_some_queries_find_a_segment_weightless(impl: str) -> None:
    """The sign of a query decides whether -inf keys weigh nothing, or make NaN."""
    arguments = positive()
    arguments["q"][1, :, ::3] *= -1
    arguments["k"][0] = -torch.inf
    out = assert_like_the_oracle("outer", arguments, impl)
    assert out[1, :, ::3].isnan().all()
    assert out[1, :, 1::3].isfinite().all()


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_a_log_sum_exp_of_zero_is_left_alone(impl: str) -> None:
    """One key, and queries of zero: every segment's log-sum-exp is 0, and it counts."""
    arguments = Case(key_length=1, scale=0.3).inputs()
    arguments["q"].zero_()
    assert_like_the_oracle("outer", arguments, impl)


@pytest.mark.parametrize("op", ["flash_for_cpu", "math"])
def test_stock_ops_say_minus_inf(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_sum_exp_ops, "log_sum_exp_op", lambda *_: op)
    query, key, value = (torch.rand(2, 3, 37, 40) + 0.1 for _ in range(3))
    key[1, 2] = -torch.inf
    out, lse = attend(query, key, value, None, 0.2)
    assert lse[1, 2].isneginf().all()
    assert out[1, 2].isnan().all()
    assert lse[0].isfinite().all()
    arguments = positive()
    arguments["k"][0] = -torch.inf
    assert_like_the_oracle("outer", arguments, "sdpa")


def test_flash_attention_says_plus_inf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernels on GPUs give zeros and +inf there; NaN results of infinite logits keep theirs."""
    out, lse = torch.zeros(1, 1, 3, 8), torch.tensor([[[torch.inf, torch.inf, 0.5]]])
    out[0, 0, 1] = torch.nan
    assert log_sum_exp_ops._without_plus_inf(out, lse)[1].tolist() == [[[-torch.inf, torch.inf, 0.5]]]


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("logit", [-2.9e38, -3.1e38, -3.3e38, -3.4e38])
@pytest.mark.parametrize("mode", OPS)
def test_the_lowest_logits_are_logits(mode: str, logit: float, impl: str) -> None:
    """Finite in base 2, all alike: the mean of the values."""
    arguments = Case(mode=mode, head_dim=16, scale=1.0).inputs()
    arguments["q"].zero_()[..., 0] = 1.0
    arguments["k"].zero_()[..., 0] = logit / LOG2_E
    out = OPS[mode](**arguments, impl=impl)
    expected = arguments | dict(q=torch.zeros_like(arguments["q"]))
    torch.testing.assert_close(out.double(), oracle(mode, expected), rtol=1e-5, atol=1e-5)

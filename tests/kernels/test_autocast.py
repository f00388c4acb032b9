"""Autocast around a call does not reach inside the ops: the same bits with and without, forward and backward."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from aid_kernels.interpolated_attention.impl import log_sum_exp_ops
from tests.testing import OPS, Case

DTYPES = [torch.float32, torch.bfloat16, torch.float64]


def results(case: Case, impl: str, forward: bool, backward: bool, narrow: torch.dtype = torch.bfloat16) -> list[Tensor]:
    """The output and three gradients, with autocast around either half."""
    arguments = case.inputs()
    variables = [arguments[name].requires_grad_() for name in ("q", "k", "v")]
    with torch.autocast("cpu", narrow) if forward else nullcontext():
        with torch.no_grad():
            plain = OPS[case.mode](**arguments, impl=impl)
        # triton serves no gradients
        out = OPS[case.mode](**arguments, impl="auto" if impl == "triton" else impl)
    # not a sum of squares, whose own product autocast may narrow
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    with torch.autocast("cpu", narrow) if backward else nullcontext():
        return [plain, out.detach(), *torch.autograd.grad(out, variables, grad)]


@pytest.mark.parametrize("impl", ["sdpa", "triton", "reference"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", OPS)
def test_autocast_changes_no_bit(mode: str, dtype: torch.dtype, impl: str) -> None:
    if impl == "triton" and dtype == torch.float64:
        pytest.skip("the kernels do not take float64")
    case = Case(mode=mode, dtype=dtype, masks="some", heads=1)
    expected = results(case, impl, False, False)
    assert expected[0].dtype == dtype
    for around in ((True, True), (True, False), (False, True)):
        assert all(torch.equal(*pair) for pair in zip(results(case, impl, *around), expected, strict=True))


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", OPS)
def test_the_fallback_op_keeps_its_precision(
    mode: str, dtype: torch.dtype, narrow: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MPS and others run it."""
    monkeypatch.setattr(log_sum_exp_ops, "log_sum_exp_op", lambda *_: "math")
    case = Case(mode=mode, dtype=dtype)
    expected = results(case, "sdpa", False, False)
    around = results(case, "sdpa", True, True, narrow)
    assert all(torch.equal(*pair) for pair in zip(around, expected, strict=True))


def test_autocast_is_back_after_a_call() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        OPS["outer"](**Case(heads=1).inputs())
        assert torch.is_autocast_enabled("cpu")
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


@pytest.mark.parametrize("mode", OPS)
def test_compiled_calls_under_autocast(mode: str) -> None:
    arguments = Case(mode=mode, heads=1).inputs()
    expected = OPS[mode](**arguments)
    with torch.autocast("cpu", torch.bfloat16):
        out = torch.compile(lambda q: OPS[mode](**arguments | dict(q=q)), backend="aot_eager", fullgraph=True)(
            arguments["q"]
        )
    assert torch.equal(out, expected)

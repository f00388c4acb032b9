"""Every implementation that serves the machine agrees with the reference; gradients and compiled calls do too."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

MODES = ("outer", "inner")
TOLERANCES = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}


def call_of(
    kernel: ModuleType, device: torch.device, mode: str, dtype: torch.dtype = torch.float32, keys: int = 77
) -> tuple[Callable[..., Tensor], dict[str, Any]]:
    """An op and arguments for it: five frames, three heads, a masked key."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(5, 3, length, 40, generator=generator).to(device, dtype) for length in (37, keys, keys)
    )
    mask = torch.ones(5, keys, dtype=torch.bool, device=device)
    mask[:, -1] = False
    plan = kernel.InterpolationPlan.sequence([0, 0.25, 0.5, 0.7, 1], device=device)
    op = getattr(kernel, f"{mode}_attention")
    return op, dict(q=query, k=key, v=value, plan=plan, key_mask=mask, bank_mask=mask)


@pytest.mark.kernels_ci
@pytest.mark.parametrize("keys", [77, 130])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_implementations_agree(
    kernel: ModuleType, device: torch.device, mode: str, dtype: torch.dtype, keys: int
) -> None:
    op, arguments = call_of(kernel, device, mode, dtype, keys)
    expected = op(**arguments, impl="reference")
    reasons = kernel.explain(**arguments, mode=mode).unsupported_reasons
    for impl in ("auto", *(name for name in kernel.IMPLEMENTATIONS if not reasons[name])):
        torch.testing.assert_close(op(**arguments, impl=impl), expected, rtol=0, atol=TOLERANCES[dtype])


@pytest.mark.kernels_ci
@pytest.mark.parametrize("mode", MODES)
def test_gradients(kernel: ModuleType, device: torch.device, mode: str) -> None:
    op, arguments = call_of(kernel, device, mode)
    given = [arguments[name].requires_grad_() for name in "qkv"]
    grads = torch.autograd.grad(op(**arguments).square().sum(), given)
    assert all(grad.isfinite().all() and grad.any() for grad in grads)


@pytest.mark.kernels_ci
@pytest.mark.parametrize("mode", MODES)
def test_compiled_calls_keep_one_graph(kernel: ModuleType, device: torch.device, mode: str) -> None:
    op, arguments = call_of(kernel, device, mode)
    compiled = torch.compile(lambda query: op(**arguments | dict(q=query)), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(arguments["q"]), op(**arguments))


@pytest.mark.kernels_ci
@pytest.mark.parametrize("mode", MODES)
def test_ops_are_named_after_the_module(kernel: ModuleType, mode: str) -> None:
    assert hasattr(getattr(torch.ops, kernel.__name__), f"{mode}_attention")

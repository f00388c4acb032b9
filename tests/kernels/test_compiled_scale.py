"""Scales that change between calls of a compiled function: graphs stay whole, and no call computes with another's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from aid_kernels import InterpolationPlan
from tests.testing import OPS

PLAN = InterpolationPlan.sequence([0, 0.3, 1])
SCALES = (0.1, 0.2, 0.3, 0.45, -0.2, 0.0, 1.0)


def tensors(**options: Any) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(3, 2, 5, 8, **options) for _ in range(3)]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch._dynamo.reset()


FUNCTIONS: dict[str, Callable[[Callable[..., Tensor]], Callable[..., Tensor]]] = {
    "given": lambda op: lambda q, k, v, s: op(q, k, v, PLAN, scale=s),
    "derived": lambda op: lambda q, k, v, s: op(q * s, k, v, PLAN, scale=s + 1e-3),
    "of two calls": lambda op: lambda q, k, v, s: op(op(q, k, v, PLAN, scale=2 * s), k, v, PLAN, False, scale=s) * s,
}


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("given", "aot_eager"),
        ("derived", "aot_eager"),
        ("derived", "inductor"),
        pytest.param("given", "inductor", marks=pytest.mark.slow),
        pytest.param("of two calls", "inductor", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("mode", OPS)
def test_a_scale_that_changes(mode: str, name: str, backend: str) -> None:
    function = FUNCTIONS[name](OPS[mode])
    compiled = torch.compile(function, fullgraph=True, backend=backend)
    for scale in SCALES:
        torch.testing.assert_close(compiled(*tensors(), scale), function(*tensors(), scale))


@pytest.mark.parametrize("mode", OPS)
def test_gradients_of_a_scale_that_changes(mode: str) -> None:
    function = FUNCTIONS["derived"](OPS[mode])
    compiled = torch.compile(function, fullgraph=True, backend="inductor")

    def gradients(called: Callable[..., Tensor], scale: float) -> tuple[Tensor, ...]:
        variables = tensors(requires_grad=True)
        return torch.autograd.grad(called(*variables, scale).square().sum(), variables)

    for scale in SCALES[:4]:
        for found, expected in zip(gradients(compiled, scale), gradients(function, scale), strict=True):
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", OPS)
def test_the_default_scale_of_dynamic_shapes(mode: str) -> None:
    """1/sqrt(D) is a symbolic float then."""
    function = FUNCTIONS["given"](OPS[mode])
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=True)
    for head_dim in (8, 16, 40):
        wide = [tensor.repeat(1, 1, 1, head_dim // 8) for tensor in tensors()]
        torch.testing.assert_close(compiled(*wide, None), function(*wide, None))


def test_the_scale_is_checked_in_compiled_calls_too() -> None:
    compiled = torch.compile(FUNCTIONS["given"](OPS["outer"]), backend="aot_eager")
    for scale in (0.1, 0.2):
        compiled(*tensors(), scale)
    for wrong in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(ValueError, match="scale must be finite"):
            compiled(*tensors(), wrong)

"""Strides of results: what the fake kernel promises a compiler, every implementation returns, for every layout."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.testing import OPS, Case

B, H, S, D = 3, 3, 37, 40

LAYOUTS: dict[str, Callable[[torch.dtype], Tensor]] = {
    "dense": lambda dtype: torch.randn(B, H, S, D, dtype=dtype),
    "transposed": lambda dtype: torch.randn(B, S, H, D, dtype=dtype).transpose(1, 2),
    "fused": lambda dtype: torch.randn(B, S, 3, H, D, dtype=dtype)[:, :, 1].transpose(1, 2),
    "expanded over heads": lambda dtype: torch.randn(B, 1, S, D, dtype=dtype).expand(B, H, S, D),
    "expanded over rows": lambda dtype: torch.randn(1, H, S, D, dtype=dtype).expand(B, H, S, D),
    "expanded over positions": lambda dtype: torch.randn(B, H, 1, D, dtype=dtype).expand(B, H, S, D),
    "expanded over all": lambda dtype: torch.randn(1, 1, 1, D, dtype=dtype).expand(B, H, S, D),
    "windows": lambda dtype: torch.randn(B, H, S + D, dtype=dtype).unfold(2, D, 1)[:, :, :S],
    "windows along heads": lambda dtype: (
        torch.randn(B, S, H + D, dtype=dtype).unfold(2, D, 1)[:, :, :H].transpose(1, 2)
    ),
    "one head": lambda dtype: torch.randn(B, S, 1, D, dtype=dtype).transpose(1, 2),
    "one position": lambda dtype: torch.randn(B, 1, H, D, dtype=dtype).transpose(1, 2),
    "heads outermost": lambda dtype: torch.randn(H, B, S, D, dtype=dtype).transpose(0, 1),
    "positions outermost": lambda dtype: torch.randn(S, B, H, D, dtype=dtype).permute(1, 2, 0, 3),
    "columns of more": lambda dtype: torch.randn(B, H, S, 2 * D, dtype=dtype)[..., :D],
    "no position": lambda dtype: torch.randn(B, 0, H, D, dtype=dtype).transpose(1, 2),
}


def call_of(mode: str, layout: str, dtype: torch.dtype) -> dict[str, object]:
    torch.manual_seed(0)
    query = LAYOUTS[layout](dtype)
    _, heads, length, _ = query.shape
    return Case(mode=mode, dtype=dtype, heads=heads, query_length=length).inputs() | dict(q=query)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", OPS)
def test_fake_and_real_strides_agree(mode: str, layout: str, dtype: torch.dtype) -> None:
    arguments = call_of(mode, layout, dtype)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        promised = OPS[mode](
            **{
                name: fake.from_tensor(value) if isinstance(value, Tensor) else value
                for name, value in arguments.items()
            }
        )
    for impl in ("sdpa", "reference", *(["triton"] if dtype == torch.float32 else [])):
        out = OPS[mode](**arguments, impl=impl)
        assert (out.shape, out.dtype, out.stride()) == (promised.shape, promised.dtype, promised.stride()), impl


@pytest.mark.slow
@pytest.mark.parametrize("impl", ["sdpa", "triton", "reference"])
@pytest.mark.parametrize("layout", ["expanded over heads", "expanded over all", "windows"])
@pytest.mark.parametrize("mode", OPS)
def test_compiled_calls_meet_the_promise(mode: str, layout: str, impl: str) -> None:
    arguments = call_of(mode, layout, torch.float32)
    torch._dynamo.reset()
    compiled = torch.compile(lambda q: OPS[mode](**arguments | dict(q=q), impl=impl) * 2, fullgraph=True)
    expected = 2 * OPS[mode](**arguments, impl=impl)
    torch.testing.assert_close(compiled(arguments["q"]), expected)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["expanded over heads", "expanded over rows", "windows along heads"])
@pytest.mark.parametrize("mode", OPS)
def test_fake_and_real_strides_of_gradients_agree(mode: str, layout: str) -> None:
    arguments = call_of(mode, layout, torch.float32)

    def loss_gradient(query: Tensor) -> Tensor:
        query = query.detach().requires_grad_()
        return torch.autograd.grad(OPS[mode](**arguments | dict(q=query)).square().sum(), query)[0]

    torch._dynamo.reset()
    compiled = torch.compile(lambda q: OPS[mode](**arguments | dict(q=q)).square().sum(), fullgraph=True)
    variable = arguments["q"].detach().requires_grad_()
    (found,) = torch.autograd.grad(compiled(variable), variable)
    torch.testing.assert_close(found, loss_gradient(arguments["q"]))

"""Forward-mode derivatives: the ops have none, and say so however they are asked, instead of giving zero."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from aid_kernels import InterpolationPlan
from tests.testing import OPS

PLAN = InterpolationPlan.sequence([0, 0.3, 1])
NAMES = ("q", "k", "v", "k_src", "v_src")


def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: torch.randn(3, 2, 5, 8) for name in NAMES}


def function_of(mode: str, name: str, impl: str = "auto") -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The op as a function of one of its tensors, and that tensor."""
    given = tensors()

    def function(tensor: Tensor) -> Tensor:
        q, k, v, *bank = (given | {name: tensor}).values()
        return OPS[mode](q, k, v, PLAN, bank=tuple(bank), impl=impl)

    return function, given[name]


def by_dual_level(function: Callable[[Tensor], Tensor], tensor: Tensor) -> None:
    with forward_ad.dual_level():
        function(forward_ad.make_dual(tensor, torch.ones_like(tensor)))


WAYS: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor], object]] = {
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x),)),
    "jacfwd": lambda f, x: torch.func.jacfwd(f)(x),
    "linearize": lambda f, x: torch.func.linearize(f, x)[1](x),
    "dual_level": by_dual_level,
    "jvp within no_grad": lambda f, x: torch.no_grad()(torch.func.jvp)(f, (x,), (x,)),
    "jvp of jvp": lambda f, x: torch.func.jvp(lambda y: torch.func.jvp(f, (y,), (x,))[1], (x,), (x,)),
    "jvp of a compiled call": lambda f, x: torch.func.jvp(torch.compile(f, backend="aot_eager"), (x,), (x,)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", OPS)
def test_every_way_into_forward_mode_raises(mode: str, way: str) -> None:
    function, query = function_of(mode, "q")
    with pytest.raises(NotImplementedError, match=f"{mode}_attention has no forward-mode derivative.*reverse mode"):
        WAYS[way](function, query)


@pytest.mark.parametrize("impl", ["sdpa", "triton", "reference"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", OPS)
def test_a_tangent_of_any_input_raises(mode: str, name: str, impl: str) -> None:
    function, tensor = function_of(mode, name, impl)
    with pytest.raises(NotImplementedError, match="has no forward-mode derivative"):
        torch.func.jvp(function, (tensor,), (tensor,))


def test_a_tangent_of_a_gradient_raises() -> None:
    function, query = function_of("outer", "q")
    query.requires_grad_()
    out = function(query)
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="backward has no forward-mode derivative"):
        torch.autograd.grad(out, query, forward_ad.make_dual(torch.ones_like(out), torch.ones_like(out)))


@pytest.mark.parametrize("way", ["jvp", "jacfwd", "dual_level"])
def test_a_tangent_of_a_plan_raises(way: str) -> None:
    makers = (
        lambda t: InterpolationPlan.sequence(t).weights,
        lambda t: InterpolationPlan.keyframes(t).weights,
        lambda t: InterpolationPlan(PLAN.sources, torch.stack([1 - t, t], dim=1)).weights,
    )
    for maker in makers:
        with pytest.raises(NotImplementedError, match="a plan has no derivative"):
            WAYS[way](maker, torch.tensor([0, 0.3, 1]))


def test_calls_without_a_tangent_are_served_within_forward_mode() -> None:
    function, query = function_of("outer", "q")
    expected = function(query)
    with forward_ad.dual_level():
        assert torch.equal(function(query), expected)
    value, tangent = torch.func.jvp(lambda x: x * function(query), (query,), (torch.ones_like(query),))
    assert torch.equal(value, query * expected)
    assert torch.equal(tangent, expected)

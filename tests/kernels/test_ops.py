"""The ops as torch sees them: schema, fakes, gradients, and graphs that stay whole when coefficients change."""

from typing import Any

import pytest
import torch
import torch._dynamo.testing
from torch import Tensor

from aid_kernels import InterpolationPlan, inner_attention, outer_attention
from aid_kernels.interpolated_attention.inputs import AttentionInputs, flatten, unflatten
from tests.testing import OPS, Case, bundled


def op_arguments(requires_grad: bool, bank: bool) -> tuple[Any, ...]:
    plan = InterpolationPlan.sequence([0, 0.3, 1])
    query, key, value, *banks = (torch.randn(3, 2, 5, 8, requires_grad=requires_grad) for _ in range(5))
    mask = torch.rand(3, 5) < 0.7
    banks += [mask, mask] if bank else []
    return (
        query,
        key,
        value,
        *(banks if bank else (key, value, None, None)),
        plan.tensors(),
        True,
        torch.tensor(0.3, dtype=torch.float64),
        "auto",
        requires_grad,
    )


@pytest.mark.parametrize("mode", OPS)
def test_the_ops_take_the_fields_of_the_inputs(mode: str) -> None:
    schema = getattr(torch.ops.aid_kernels, f"{mode}_attention").default._schema
    assert [argument.name for argument in schema.arguments] == [*AttentionInputs._fields, "impl", "needs_grad"]


def test_inputs_come_back_from_the_border_of_an_op() -> None:
    inputs = bundled(Case(masks="some").inputs())
    again = unflatten(flatten(inputs))
    for name, before, after in zip(AttentionInputs._fields, inputs, again, strict=True):
        assert before is after or name in ("plan", "scale")
    assert again.scale == inputs.scale
    assert again.plan.host_terms() == inputs.plan.host_terms()


@pytest.mark.parametrize("bank", [False, True], ids=["batch", "bank"])
@pytest.mark.parametrize("requires_grad", [False, True], ids=["no_grad", "grad"])
@pytest.mark.parametrize("mode", OPS)
def test_opcheck(mode: str, requires_grad: bool, bank: bool) -> None:
    op = getattr(torch.ops.aid_kernels, f"{mode}_attention").default
    torch.library.opcheck(op, op_arguments(requires_grad, bank))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("mode", OPS)
def test_output_keeps_the_layout_of_the_query(mode: str, transposed: bool) -> None:
    shape = (3, 5, 2, 8) if transposed else (3, 2, 5, 8)
    query, key, value = (torch.randn(shape) for _ in range(3))
    if transposed:
        query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
    for impl in ("reference", "sdpa"):
        out = OPS[mode](query, key, value, InterpolationPlan.sequence([0, 0.3, 1]), impl=impl)
        assert out.stride() == query.stride()


@pytest.mark.parametrize("fuse_self", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("mode", OPS)
def test_gradients_match_finite_differences(mode: str, fuse_self: bool) -> None:
    torch.manual_seed(0)
    plan = InterpolationPlan.barycentric([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.2, 0, 0.8]])
    tensors = [torch.randn(4, 2, length, 8, dtype=torch.float64, requires_grad=True) for length in (3, 4, 4, 5, 5)]
    key_mask, bank_mask = torch.rand(4, 4) < 0.6, torch.rand(4, 5) < 0.6
    key_mask[3] = False

    def with_bank(q: Tensor, k: Tensor, v: Tensor, *bank: Tensor) -> Tensor:
        return OPS[mode](q, k, v, plan, fuse_self, bank=bank, key_mask=key_mask, bank_mask=bank_mask)

    def own_bank(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return OPS[mode](q, k, v, plan, fuse_self)

    assert torch.autograd.gradcheck(with_bank, tensors)
    assert torch.autograd.gradcheck(own_bank, tensors[:3])


def test_gradients_in_low_precision_are_close() -> None:
    torch.manual_seed(0)
    plan = InterpolationPlan.sequence([0, 0.4, 1])
    wide = [torch.randn(3, 2, 6, 8, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    narrow = [tensor.detach().bfloat16().requires_grad_() for tensor in wide]
    for tensors in (wide, narrow):
        outer_attention(*tensors, plan).square().sum().backward()
    for exact, rounded in zip(wide, narrow, strict=True):
        assert rounded.grad is not None
        assert exact.grad is not None
        torch.testing.assert_close(rounded.grad.double(), exact.grad, rtol=0.05, atol=0.1)


def test_compiled_function_compiles_once_for_all_coefficients() -> None:
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")

    def step(q: Tensor, k: Tensor, v: Tensor, plan: InterpolationPlan) -> Tensor:
        return outer_attention(q * 2, k, v, plan) + inner_attention(q, k, v, plan, fuse_self=False)

    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend=counter)
    query, key, value = (torch.randn(4, 2, 9, 8) for _ in range(3))
    plans = [InterpolationPlan.sequence([0, t, 1 - t / 2, 1]) for t in (0.1, 0.37, 0.5, 0.9)]
    for plan in [*plans, plans[0].off()]:
        with torch.no_grad():
            torch.testing.assert_close(compiled(query, key, value, plan), step(query, key, value, plan))
    assert counter.frame_count == 1


def test_compiled_gradients() -> None:
    plan = InterpolationPlan.sequence([0, 0.3, 1])
    tensors = [torch.randn(3, 2, 5, 8, requires_grad=True) for _ in range(3)]
    compiled = torch.compile(lambda q, k, v: outer_attention(q, k, v, plan).sin(), fullgraph=True, backend="aot_eager")
    eager = torch.autograd.grad(outer_attention(*tensors, plan).sin().sum(), tensors)
    traced = torch.autograd.grad(compiled(*tensors).sum(), tensors)
    torch.testing.assert_close(traced, eager)

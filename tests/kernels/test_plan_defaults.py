"""Plans do not depend on torch's default dtype, default device or inference mode at the time they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from aid_kernels import InterpolationPlan
from tests.testing import OPS

THIRDS = [0, 1 / 7, 0.3, 1]
READY = InterpolationPlan.sequence(THIRDS)
ON_CPU = torch.tensor(THIRDS, dtype=torch.float64)
CORNERS = [[1.0, 0.0], [0.3, 0.7], [1 / 7, 6 / 7], [0.0, 1.0]]
GRID = torch.tensor(CORNERS)

MAKERS: dict[str, Callable[[], InterpolationPlan]] = {
    "sequence": lambda: InterpolationPlan.sequence(THIRDS),
    "sequence of a tensor": lambda: InterpolationPlan.sequence(ON_CPU),
    "sequence of an array": lambda: InterpolationPlan.sequence(np.array(THIRDS)),
    "sequence on cpu": lambda: InterpolationPlan.sequence(THIRDS, device="cpu"),
    "keyframes": lambda: InterpolationPlan.keyframes([0, 1 / 7, 1, 1.3, 2]),
    "keyframes of legs": lambda: InterpolationPlan.keyframes([0, 1 / 7, 0, 0.3, 1], [2, 2]),
    "barycentric": lambda: InterpolationPlan.barycentric(CORNERS),
    "barycentric of a tensor": lambda: InterpolationPlan.barycentric(GRID, endpoints=[0, 3]),
    "itself": lambda: InterpolationPlan([[0, 1]], [[1 / 7, 6 / 7]]),  # type: ignore[arg-type]
    "itself of tensors": lambda: InterpolationPlan(READY.sources, READY.weights),
    "plain": lambda: InterpolationPlan.plain(2),
    "plain on cpu": lambda: InterpolationPlan.plain(2, device="cpu"),
    "concat": lambda: InterpolationPlan.concat([READY, InterpolationPlan.plain(1), READY]),
    "select": lambda: READY.select([2, 1]),
    "select with a bank": lambda: READY.select(slice(1, 3), bank=[3, 0]),
    "select by a tensor": lambda: READY.select(READY.sources[1]),
    "off": lambda: READY.off(),
    "to": lambda: READY.to("cpu"),
}
EXPECTED = {name: maker().tensors() for name, maker in MAKERS.items()}


def assert_as_expected(name: str) -> None:
    for made, expected in zip(MAKERS[name]().tensors(), EXPECTED[name], strict=True):
        assert (made.dtype, made.device) == (expected.dtype, expected.device)
        assert torch.equal(made, expected)


@pytest.fixture
def default_dtype() -> Iterator[Callable[[torch.dtype], None]]:
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


@pytest.fixture
def default_device() -> Iterator[Callable[[str], None]]:
    yield torch.set_default_device
    torch.set_default_device(None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_the_default_dtype_does_not_matter(name: str, dtype: torch.dtype, default_dtype: Callable) -> None:
    default_dtype(dtype)
    assert_as_expected(name)


def test_python_floats_are_rounded_to_float32_before_the_math_and_arrays_are_not() -> None:
    third = np.array([0, 1 / 3, 1])
    rounded = float(np.float32(1 / 3))
    assert InterpolationPlan.sequence(third.tolist()).weights[1].tolist() == [np.float32(1 - rounded), rounded]
    assert InterpolationPlan.sequence(third).weights[1].tolist() == [np.float32(1 - 1 / 3), np.float32(1 / 3)]
    # sums are checked in float64
    many = [1 / 3000] * 3000
    assert len(InterpolationPlan([list(range(3000))], [many])) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MAKERS)
def test_the_default_device_does_not_matter(name: str, default_device: Callable) -> None:
    """meta stands in for cuda: whatever is made there or moved there has no values."""
    default_device("meta")
    assert_as_expected(name)


@pytest.mark.parametrize("name", MAKERS)
def test_a_device_context_does_not_matter(name: str) -> None:
    with torch.device("meta"):
        assert_as_expected(name)


@pytest.mark.parametrize("impl", ["sdpa", "triton", "reference"])
@pytest.mark.parametrize("mode", OPS)
def test_calls_and_gradients_do_not_read_the_defaults(
    mode: str, impl: str, default_dtype: Callable, default_device: Callable
) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(4, 2, 5, 8) for _ in range(3))
    mask = torch.rand(4, 5) < 0.7
    ready = InterpolationPlan.sequence(THIRDS)

    def results() -> list[torch.Tensor]:
        out = OPS[mode](query, key, value, ready, key_mask=mask, bank_mask=mask, impl=impl)
        variable = query.clone().requires_grad_()
        loss = OPS[mode](variable, key, value, ready, key_mask=mask, bank_mask=mask).square().sum()
        return [out, *torch.autograd.grad(loss, variable)]

    expected = results()
    default_dtype(torch.float64)
    default_device("meta")
    assert all(torch.equal(*pair) for pair in zip(results(), expected, strict=True))


@pytest.mark.parametrize("name", MAKERS)
def test_a_plan_made_in_inference_mode_serves_gradients(name: str) -> None:
    with torch.inference_mode():
        plan = MAKERS[name]()
    assert not any(tensor.is_inference() for tensor in plan.tensors())
    query = torch.randn(len(plan), 2, 5, 8, requires_grad=True)
    key = torch.randn(max(len(plan), plan.bank_size), 2, 5, 8)
    own = key[: len(plan)]
    for op in OPS.values():
        (grad,) = torch.autograd.grad(op(query, own, own, plan, bank=(key, key)).sum(), query)
        assert grad.isfinite().all()


def test_a_plan_of_inference_tensors_is_an_ordinary_one() -> None:
    with torch.inference_mode():
        weights, sources = torch.tensor([[0.3, 0.7]], dtype=torch.float32), torch.tensor([[0, 1]], dtype=torch.int32)
        moved = InterpolationPlan(sources, weights).to("meta")
    assert weights.is_inference()
    assert not any(tensor.is_inference() for tensor in InterpolationPlan(sources, weights).tensors())
    assert not any(tensor.is_inference() for tensor in moved.tensors())

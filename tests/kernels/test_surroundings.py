"""What surrounds a call or a plan: torch's defaults, inference mode, autocast, forward mode, other libraries."""

import sys
import types

import pytest
import torch

from aid_kernels import InterpolationPlan, outer_attention
from aid_kernels.interpolated_attention.impl.triton import support
from tests.testing import OPS, Case

SEQUENCE = [0, 0.3, 1 / 7 + 0.5, 1]


def plans() -> dict[str, InterpolationPlan]:
    t = torch.tensor(SEQUENCE, dtype=torch.float64, device="cpu")
    ready = InterpolationPlan.sequence(t)
    return {
        "sequence": InterpolationPlan.sequence(SEQUENCE),
        "sequence of a tensor": ready,
        "keyframes": InterpolationPlan.keyframes([0, 0.3, 1, 1.7, 2]),
        "keyframes by counts": InterpolationPlan.keyframes([0, 0.3, 0, 0.1, 0.7, 1], [2, 3]),
        "barycentric": InterpolationPlan.barycentric([[1, 0], [0.3, 0.7], [0, 1]]),
        "plain": InterpolationPlan.plain(2, device="cpu"),
        "concat": InterpolationPlan.concat([ready, InterpolationPlan.plain(1, device="cpu"), ready]),
        "select": ready.select([0, 1, 3], bank=[0, 3]),
        "off": ready.off(),
    }


def assert_same(found: dict[str, InterpolationPlan], wanted: dict[str, InterpolationPlan]) -> None:
    for name, plan in found.items():
        for tensor, expected in zip(plan.tensors(), wanted[name].tensors(), strict=True):
            assert tensor.device.type == "cpu", name
            assert tensor.dtype == expected.dtype, name
            assert torch.equal(tensor, expected), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_plans_do_not_depend_on_the_default_dtype(dtype):
    wanted = plans()
    torch.set_default_dtype(dtype)
    try:
        found = plans()
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same(found, wanted)


def test_plans_do_not_depend_on_the_default_device():
    wanted = plans()
    torch.set_default_device("meta")
    try:
        found = plans()
    finally:
        torch.set_default_device(None)
    assert_same(found, wanted)


@pytest.mark.parametrize("mode", OPS)
def test_a_plan_of_inference_mode_serves_calls_with_gradients(mode):
    with torch.inference_mode():
        made = plans()
    for name in ("sequence", "sequence of a tensor", "barycentric", "concat", "select"):
        plan = made[name]
        bank = plan.bank_size
        q, k, v = (torch.randn(len(plan), 1, 4, 8, requires_grad=True) for _ in range(3))
        source = tuple(torch.randn(max(bank, 1), 1, 4, 8) for _ in range(2))
        OPS[mode](q, k, v, plan, bank=source).sum().backward()
        assert q.grad.abs().sum() > 0, name


@pytest.mark.parametrize("mode", OPS)
@pytest.mark.parametrize("which", ["q", "k", "v"])
def test_forward_mode_is_refused(mode, which):
    inputs = Case(mode=mode).inputs()
    tensor = inputs.pop(which)
    with pytest.raises(NotImplementedError, match="reverse mode"):
        torch.func.jvp(lambda x: OPS[mode](**inputs, **{which: x}), (tensor,), (torch.ones_like(tensor),))


def test_forward_mode_is_refused_however_it_is_entered():
    inputs = Case().inputs()
    query = inputs.pop("q")
    with torch.autograd.forward_ad.dual_level(), pytest.raises(NotImplementedError, match="query"):
        outer_attention(torch.autograd.forward_ad.make_dual(query, torch.ones_like(query)), **inputs)
    with pytest.raises(NotImplementedError, match="query"):
        torch.func.jacfwd(lambda x: outer_attention(x, **inputs).sum())(query)
    with torch.autograd.forward_ad.dual_level():  # nothing dual among the inputs
        assert outer_attention(query, **inputs).isfinite().all()


@pytest.mark.parametrize("mode", OPS)
@pytest.mark.parametrize("impl", ["sdpa", "reference"])
def test_autocast_does_not_reach_inside(mode, impl):
    inputs = Case(mode=mode).inputs()
    tensors = [inputs[name].requires_grad_() for name in "qkv"]

    def run() -> list[torch.Tensor]:
        out = OPS[mode](**inputs, impl=impl)
        return [out.detach(), *torch.autograd.grad(out.sum(), tensors)]

    wanted = run()
    with torch.autocast("cpu", torch.bfloat16):
        found = run()
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("mode", OPS)
@pytest.mark.parametrize("impl", ["sdpa", "reference"])
def test_a_query_expanded_over_heads_has_the_strides_that_the_fake_kernel_promises(mode, impl):
    inputs = Case(mode=mode).inputs()
    for wide in (inputs["q"][:, :1].expand(-1, 3, -1, -1), inputs["q"].transpose(1, 2).contiguous().transpose(1, 2)):
        call = torch.compile(lambda q: OPS[mode](**{**inputs, "q": q}, impl=impl), backend="aot_eager", fullgraph=True)
        with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as fake:
            promised = OPS[mode](**{**inputs, "q": fake.from_tensor(wide)}, impl=impl).stride()
        found = OPS[mode](**{**inputs, "q": wide}, impl=impl)
        assert found.stride() == promised
        torch.testing.assert_close(call(wide), found)


def test_a_bare_module_named_triton_is_not_triton(monkeypatch):
    bare = types.ModuleType("triton")
    bare.__spec__ = None
    monkeypatch.setitem(sys.modules, "triton", bare)
    support.triton_version.cache_clear()
    try:
        assert support.triton_version() is None
        assert outer_attention(**Case().inputs()).isfinite().all()
    finally:
        support.triton_version.cache_clear()

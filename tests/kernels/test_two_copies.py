"""Two copies of the package in one process, under two names, each run their own code, whichever was loaded last."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import aid_kernels

PACKAGE = Path(aid_kernels.__file__).parent
# the copy's forward pass gives 7 and its backward pass 5, so that it shows whose code ran
CHANGES = {
    "dispatch.py": ("return run_choice(mode, settled.choice, inputs)", ".fill_(7)"),
    "gradients.py": ("return [part.to(tensor.dtype)", ".fill_(5)"),
}


@pytest.fixture(scope="module", params=["aid_kernels_elsewhere", "_aid_kernels_cpu_0a1b2c", "vendor.aid_kernels"])
def copy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """A changed copy, loaded after the package itself."""
    name: str = request.param
    root = tmp_path_factory.mktemp("elsewhere")
    target = root / name.replace(".", "/")
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__"))
    for file, (before, more) in CHANGES.items():
        path = target / "interpolated_attention" / file
        text = path.read_text()
        assert text.count(before) == 1
        path.write_text(text.replace(before, before + more))
    sys.path.insert(0, str(root))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(root))
        for loaded in [module for module in sys.modules if (module + ".").startswith(name.partition(".")[0] + ".")]:
            del sys.modules[loaded]


def tensors(requires_grad: bool = False) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(3, 2, 5, 8, requires_grad=requires_grad) for _ in range(3)]


def call(package: ModuleType, mode: str, given: list[Tensor], impl: str = "auto") -> Tensor:
    op = getattr(package, f"{mode}_attention")
    return op(*given, package.InterpolationPlan.sequence([0, 0.3, 1]), impl=impl)


@pytest.mark.parametrize("impl", ["auto", "sdpa", "triton", "reference"])
@pytest.mark.parametrize("mode", aid_kernels.MODES)
def test_each_calls_its_own_code(copy: ModuleType, mode: str, impl: str) -> None:
    expected = call(aid_kernels, mode, tensors(), "reference")
    assert (call(copy, mode, tensors(), impl) == 7).all()
    torch.testing.assert_close(call(aid_kernels, mode, tensors(), impl), expected)


@pytest.mark.parametrize("mode", aid_kernels.MODES)
def test_each_has_its_own_gradients(copy: ModuleType, mode: str) -> None:
    for package, is_copy in ((copy, True), (aid_kernels, False), (copy, True)):
        given = tensors(requires_grad=True)
        (grad,) = torch.autograd.grad(call(package, mode, given).sum(), given[0])
        assert bool((grad == 5).all()) == is_copy


@pytest.mark.parametrize("mode", aid_kernels.MODES)
def test_each_is_compiled_as_itself(copy: ModuleType, mode: str) -> None:
    expected = call(aid_kernels, mode, tensors())
    calls = [
        (getattr(package, f"{mode}_attention"), package.InterpolationPlan.sequence([0, 0.3, 1]))
        for package in (copy, aid_kernels)
    ]

    def both(*given: Tensor) -> list[Tensor]:
        return [op(*given, plan) for op, plan in calls]

    torch._dynamo.reset()
    other, own = torch.compile(both, backend="aot_eager", fullgraph=True)(*tensors())
    assert (other == 7).all()
    assert torch.equal(own, expected)


@pytest.mark.parametrize("mode", aid_kernels.MODES)
def test_each_registers_ops_that_hold_what_torch_asks_of_them(copy: ModuleType, mode: str) -> None:
    for package in (copy, aid_kernels):
        namespace = package.__name__.replace(".", "__")
        op: Any = getattr(getattr(torch.ops, namespace), f"{mode}_attention").default
        checks = importlib.import_module(f"{package.__name__}.interpolated_attention.checks")
        inputs = importlib.import_module(f"{package.__name__}.interpolated_attention.inputs")
        plan = package.InterpolationPlan.sequence([0, 0.3, 1])
        bundled = checks.checked_inputs(*tensors(), plan, True, None, None, None, None)
        torch.library.opcheck(op, (*inputs.flatten(bundled), "auto", False))


def test_a_plan_of_the_other_copy_is_refused_by_name(copy: ModuleType) -> None:
    plan = copy.InterpolationPlan.sequence([0, 0.3, 1])
    with pytest.raises(TypeError, match=rf"InterpolationPlan of {copy.__name__}\.plan.*, not of aid_kernels\.plan"):
        aid_kernels.outer_attention(*tensors(), plan)

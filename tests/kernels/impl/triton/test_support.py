"""Reasons why the kernels cannot serve a call: all of them, without importing Triton."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
import torch

from aid_kernels import InterpolationPlan, explain
from aid_kernels.interpolated_attention.impl.triton import support
from aid_kernels.interpolated_attention.inputs import AttentionInputs
from tests.testing import OPS, bundled


def reasons_on(device: str, shape: tuple[int, ...] = (7, 8, 4096, 64)) -> list[str]:
    """Reasons against a call on a device that need not be here."""
    query = SimpleNamespace(dtype=torch.float16, device=torch.device(device, 0), shape=shape)
    inputs = AttentionInputs(*[query] * 5, None, None, InterpolationPlan.plain(1), True, 1.0)  # type: ignore[list-item]
    return support.unsupported_reasons(inputs, needs_grad=False)


def test_every_reason_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    query, plan = torch.zeros(1, 1, 1, 8, dtype=torch.float64), InterpolationPlan.plain(1)
    inputs = bundled(dict(q=query, k=query, v=query, plan=plan, fuse_self=True))

    def reasons(needs_grad: bool = False) -> str:
        return "\n".join(support.unsupported_reasons(inputs, needs_grad))

    assert "float64" in reasons()
    assert "requires grad" in reasons(needs_grad=True)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert "CPU tensors" in reasons()
    monkeypatch.setattr(support, "triton_version", lambda: (3, 5))
    assert reasons().count("\n") == 2
    assert "triton 3.5 is too old, 3.6" in reasons()
    monkeypatch.setattr(support, "triton_version", lambda: None)
    assert "not installed" in reasons()
    with pytest.raises(ValueError, match=r"(?s)float64.*CPU tensors|CPU tensors.*float64"):
        OPS["outer"](query, query, query, plan, impl="triton")


@pytest.mark.parametrize(("target", "known"), [("sm_75", False), ("sm_90", True), ("gfx906", False), ("gfx942", True)])
def test_only_chips_with_a_configuration_are_served(target: str, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(support, "target_of", lambda device: target)
    assert any(f"no configuration for {target}" in reason for reason in reasons_on("cuda")) is not known


def test_other_devices_and_interpreted_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert any("unset it" in reason for reason in reasons_on("cuda"))
    assert any("mps tensors" in reason for reason in reasons_on("mps"))


def test_asking_does_not_import_triton() -> None:
    script = (
        "import sys, torch; from aid_kernels import InterpolationPlan, explain; q = torch.zeros(1, 1, 1, 8); "
        "print(explain(q, q, q, InterpolationPlan.plain(1))); assert 'triton' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert "triton: cannot: CPU tensors" in found.stdout


@pytest.mark.parametrize(
    ("target", "shape", "served"),
    [
        ("sm_90", (70_000, 24, 4096, 64), True),
        ("sm_90", (70_000, 24, 2**20, 64), False),
        ("sm_80", (2**29, 8, 1, 64), False),
        ("gfx942", (1000, 24, 4096, 64), True),
        ("gfx942", (70_000, 24, 4096, 64), False),
    ],
)
def test_a_grid_beyond_what_a_chip_takes(
    target: str, shape: tuple[int, ...], served: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(support, "target_of", lambda device: target)
    assert any("split the batch" in reason for reason in reasons_on("cuda", shape)) is not served


@pytest.fixture
def _version_read_anew() -> Iterator[None]:
    support.triton_version.cache_clear()
    yield
    support.triton_version.cache_clear()


def stub(name: str = "triton", spec: object = None) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = spec  # type: ignore[assignment]
    return module


def without_spec() -> ModuleType:
    module = ModuleType("triton")
    del module.__spec__
    return module


STUBS = {
    "without a spec": stub,
    "without the attribute": without_spec,
    "of a namespace": lambda: stub(spec=ModuleSpec("triton", None)),
    "of no file": lambda: stub(spec=ModuleSpec("triton", None, origin="built-in")),
    "None": lambda: None,
}


@pytest.mark.parametrize("kind", STUBS)
@pytest.mark.usefixtures("_version_read_anew")
def test_a_stand_in_for_triton_is_not_triton(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another library put a bare module of that name into sys.modules."""
    # torch itself does not survive that where it was before this import
    importlib.import_module("torch._dynamo")
    monkeypatch.setitem(sys.modules, "triton", STUBS[kind]())
    query, plan = torch.randn(3, 1, 4, 8), InterpolationPlan.sequence([0, 0.5, 1])
    for mode, op in OPS.items():
        assert op(query, query, query, plan).isfinite().all()
        reasons = explain(query, query, query, plan, mode=mode).unsupported_reasons["triton"]
        assert any("triton is not installed" in reason for reason in reasons)
        with pytest.raises(ValueError, match="triton is not installed"):
            op(query, query, query, plan, impl="triton")

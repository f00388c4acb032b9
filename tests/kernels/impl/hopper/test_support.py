"""What the Hopper kernel refuses, with every reason, and that nobody imports Gluon to say so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from aid_kernels import InterpolationPlan, explain, inner_attention, outer_attention
from aid_kernels.interpolated_attention.impl.hopper import support
from tests.testing import Case, bundled

CASE = Case(head_dim=64, dtype=torch.bfloat16)


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pretended GPU that the kernel is for, where experiments are allowed."""
    monkeypatch.setenv("AID_KERNELS_EXPERIMENTAL", "1")
    monkeypatch.setattr(support, "_device_reasons", lambda device: [])


def reasons(case: Case = CASE, mode: str = "outer", needs_grad: bool = False, **changes: object) -> list[str]:
    return support.unsupported_reasons(mode, bundled(case.inputs() | changes), needs_grad)


@pytest.mark.usefixtures("hopper")
def test_what_it_is_for_is_served() -> None:
    for head_dim in (64, 128):
        for dtype in (torch.float16, torch.bfloat16):
            for layout in ("dense", "transposed", "fused"):
                assert reasons(CASE.but(head_dim=head_dim, dtype=dtype, layout=layout)) == []


@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("float32", lambda: reasons(CASE.but(dtype=torch.float32))),
        ("head_dim 40", lambda: reasons(CASE.but(head_dim=40))),
        ("mask", lambda: reasons(CASE.but(masks="some"))),
        ("scale -0.1", lambda: reasons(scale=-0.1)),
        ("scale 0.0", lambda: reasons(scale=0.0)),
        ("grad", lambda: reasons(needs_grad=True)),
        ("inner", lambda: reasons(mode="inner")),
        ("query, key, value, bank_key, bank_value: expanded", lambda: reasons(CASE.but(layout="expanded"))),
        ("3 sources", lambda: reasons(plan=InterpolationPlan.barycentric(torch.eye(3)))),
        ("query: not aligned", lambda: reasons(q=torch.zeros(3, 3, 37, 65, dtype=torch.bfloat16)[..., 1:])),
        ("key, bank_key: not aligned", lambda: reasons(k=torch.zeros(3, 3, 37, 68, dtype=torch.bfloat16)[..., :64])),
    ],
    ids=lambda value: value if isinstance(value, str) else "reasons",
)
def test_each_reason_is_named_alone(told: str, found: Callable[[], list[str]]) -> None:
    (reason,) = found()
    assert told in reason


def test_it_is_refused_where_it_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "_device_reasons", lambda device: [])
    for value in ("", "0", "yes"):
        monkeypatch.setenv("AID_KERNELS_EXPERIMENTAL", value)
        (reason,) = reasons()
        assert "AID_KERNELS_EXPERIMENTAL=1" in reason


@pytest.mark.parametrize("call", [outer_attention, inner_attention])
def test_a_named_call_raises_with_every_reason(call: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AID_KERNELS_EXPERIMENTAL", raising=False)
    with pytest.raises(ValueError, match="hopper cannot serve") as caught:
        call(**CASE.but(head_dim=40).inputs(), impl="hopper")
    for part in ("AID_KERNELS_EXPERIMENTAL", "cpu tensors", "head_dim 40"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("release", "told"),
    [("3.5.1", "too old"), ("not installed", "not installed"), ("3.6.0", None), ("4.0.0+git", None)],
)
def test_triton_versions(release: str, told: str | None, hopper: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "triton_release", lambda: release)
    assert [told in reason for reason in reasons()] == ([] if told is None else [True])


@pytest.mark.parametrize(
    ("target", "served"), [("sm_90", True), ("sm_80", False), ("sm_100", False), ("gfx942", False)]
)
def test_hopper_alone(target: str, served: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "target_of", lambda device: target)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    found = support._device_reasons(torch.device("cuda", 0))
    assert (found == []) is served
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert support._device_reasons(torch.device("cuda", 0)) != []


def test_explain_says_why_and_imports_nothing() -> None:
    program = (
        "import sys, torch\n"
        "from aid_kernels import InterpolationPlan, explain\n"
        "q = torch.zeros(3, 1, 8, 64, dtype=torch.bfloat16)\n"
        "print(explain(q, q, q, InterpolationPlan.sequence([0, 0.5, 1])))\n"
        "assert not [name for name in sys.modules if name.startswith('triton')]\n"
    )
    root = Path(__file__).parents[4]
    environment = os.environ | {"AID_KERNELS_EXPERIMENTAL": "1", "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "hopper: cannot: cpu tensors" in done.stdout
    assert explain(**CASE.inputs()).unsupported_reasons["hopper"]

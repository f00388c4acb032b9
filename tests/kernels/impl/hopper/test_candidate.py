"""The Hopper kernel as a candidate of the first call's measurement, on a pretended GPU: allowed, checked, replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from aid_kernels import Choice, explain, outer_attention
from aid_kernels.interpolated_attention import running
from aid_kernels.interpolated_attention.impl.hopper import support
from aid_kernels.interpolated_attention.inputs import AttentionInputs
from aid_kernels.interpolated_attention.tuning import settled
from tests.kernels.tuning import pretended
from tests.testing import Case

HOPPER = Choice("hopper")
FASTEST = {"hopper": 1.0, "triton": 2.0, "sdpa": 3.0}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pretended.Machine:
    """A pretended Hopper on which "hopper" is fastest; what it runs is what `Machine.behaviour` makes of the result."""
    machine = pretended.install(monkeypatch, str(tmp_path))
    machine.milliseconds = lambda choice: FASTEST[choice.implementation]
    real = running.RUNNERS["triton"]

    def kernel(mode: str, choice: Choice, inputs: AttentionInputs) -> Tensor:
        return real(mode, choice, inputs)

    monkeypatch.setitem(running.RUNNERS, "hopper", kernel)
    monkeypatch.setattr(support, "_device_reasons", lambda device: [])
    monkeypatch.setenv("AID_KERNELS_EXPERIMENTAL", "1")
    return machine


def arguments(**changes: Any) -> dict[str, Any]:
    return Case(head_dim=64, dtype=torch.bfloat16).inputs() | changes


def test_the_fastest_is_kept(machine: pretended.Machine) -> None:
    outer_attention(**arguments())
    found = explain(**arguments())
    assert found.choice == HOPPER
    assert found.measurement is not None
    assert found.measurement.time_of(HOPPER) == 1.0
    assert HOPPER in machine.ran
    assert "hopper: 1 ms" in str(found)


def test_it_is_no_candidate_unless_allowed(machine: pretended.Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AID_KERNELS_EXPERIMENTAL")
    outer_attention(**arguments())
    assert HOPPER not in machine.ran
    assert explain(**arguments()).implementation == "triton"


def test_a_cache_filled_with_it_is_not_for_a_process_without(
    machine: pretended.Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for allowed, expected in ((True, "hopper"), (False, "triton"), (True, "hopper")):
        if allowed:
            monkeypatch.setenv("AID_KERNELS_EXPERIMENTAL", "1")
        else:
            monkeypatch.delenv("AID_KERNELS_EXPERIMENTAL")
        settled.forget()
        outer_attention(**arguments())
        assert explain(**arguments()).implementation == expected


def test_one_that_lies_is_out(machine: pretended.Machine) -> None:
    machine.behaviour = lambda compute: (
        pretended.lies(compute) if machine.ran[-1] == HOPPER else pretended.honest(compute)
    )
    out = outer_attention(**arguments())
    found = explain(**arguments())
    assert found.implementation == "triton"
    assert "hopper: out, it disagrees" in str(found)
    exact = outer_attention(**arguments(), impl="reference")
    assert (out - exact).abs().max() < 0.02


def test_one_that_does_not_compile_is_out(machine: pretended.Machine) -> None:
    machine.behaviour = lambda compute: (
        pretended.crashes(compute) if machine.ran[-1] == HOPPER else pretended.honest(compute)
    )
    outer_attention(**arguments())
    assert "hopper: out" in str(explain(**arguments()))
    assert explain(**arguments()).implementation == "triton"


def test_a_call_of_the_kind_that_it_cannot_serve_gets_the_next_best(machine: pretended.Machine) -> None:
    outer_attention(**arguments())
    machine.ran.clear()
    outer_attention(**arguments(scale=-0.1))
    assert {choice.implementation for choice in machine.ran} == {"triton"}
    assert "scale -0.1" in explain(**arguments(scale=-0.1)).reason
    assert explain(**arguments()).choice == HOPPER


def test_other_sources_that_run_the_kernel_keep_it_out(machine: pretended.Machine) -> None:
    """Its sums have an order of their own, and batch invariance holds across the number of sources."""
    with_three = Case(weights=((0.2, 0.3, 0.5),) * 3, sources=((0, 1, 2),) * 3, head_dim=64, dtype=torch.bfloat16)
    outer_attention(**with_three.inputs())
    assert explain(**with_three.inputs()).implementation == "triton"
    outer_attention(**arguments())
    assert HOPPER not in machine.ran

"""A pretended GPU: CPU tensors pass for its own, and what stands for the kernel is told how to behave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from aid_kernels import Choice, InterpolationPlan
from aid_kernels.interpolated_attention import auto, dispatch, running
from aid_kernels.interpolated_attention.inputs import AttentionInputs
from aid_kernels.interpolated_attention.tuning import settled, tuned
from tests.kernels.tuning.entries import GPU

Behaviour = Callable[[Callable[[], Tensor]], Tensor]


def honest(compute: Callable[[], Tensor]) -> Tensor:
    return compute()


def lies(compute: Callable[[], Tensor]) -> Tensor:
    return compute() + 0.01


def lies_late(compute: Callable[[], Tensor]) -> Tensor:
    """The last query of the last row and head alone is wrong."""
    out = compute()
    out[-1, -1, -1] += 0.5
    return out


def leaves_out(compute: Callable[[], Tensor]) -> Tensor:
    """A place outside of every sampled block is never written."""
    computed = compute()
    out = torch.empty_like(computed)
    out.copy_(computed)
    out[0, 0, 20] = torch.empty(computed.shape[3])
    return out


def crashes(compute: Callable[[], Tensor]) -> Tensor:
    raise RuntimeError("the kernel does not compile: too many registers")


def exhausts(compute: Callable[[], Tensor]) -> Tensor:
    raise torch.OutOfMemoryError("tried to allocate 80 GiB")


@dataclass
class Machine:
    """The pretended GPU.

    Attributes:
        behaviour: of every candidate with the kernel.
        milliseconds: what a choice takes by the given clock.
        ran: every choice that ran, in order.
    """

    behaviour: Behaviour = honest
    milliseconds: Callable[[Choice], float] = lambda choice: 1.0 if choice.implementation == "triton" else 2.0
    ran: list[Choice] = field(default_factory=list)
    measured: int = 0

    def time(self, call: Callable[[], object]) -> float:
        """The given clock: what the choice that runs is said to take."""
        call()
        self.measured += 1
        return self.milliseconds(self.ran[-1])

    def typical(self, times: list[float]) -> float:
        return sorted(times)[len(times) // 2]

    def recover(self) -> None:
        """Nothing is lost."""


def install(monkeypatch: pytest.MonkeyPatch, cache: str) -> Machine:
    """The real dispatch and the real cache, in that folder, on a pretended GPU."""
    machine = Machine()
    real = dict(running.RUNNERS)

    def kernel(mode: str, choice: Choice, inputs: AttentionInputs) -> Tensor:
        machine.ran.append(choice)
        return machine.behaviour(lambda: real["reference"](mode, choice, inputs))

    def stock(mode: str, choice: Choice, inputs: AttentionInputs) -> Tensor:
        out = real["sdpa"](mode, choice, inputs)
        machine.ran.append(choice)
        return out

    monkeypatch.setattr(running, "RUNNERS", real | {"triton": kernel, "sdpa": stock})
    for module in (tuned, auto):
        monkeypatch.setattr(module, "gpu_name", lambda device: GPU)
    for module in (auto, dispatch):
        monkeypatch.setattr(module, "triton_unsupported_reasons", lambda inputs, needs_grad: [])
    monkeypatch.setattr(auto, "target_of", lambda device: "sm_90")
    monkeypatch.setattr(auto, "clock_for", lambda device: machine)
    monkeypatch.setenv("AID_KERNELS_CACHE_DIR", cache)
    monkeypatch.delenv("AID_KERNELS_AUTO", raising=False)
    settled.forget()
    return machine


def arguments(length: int = 48, frames: int = 3, dtype: torch.dtype = torch.float32) -> dict[str, object]:
    """A call of that length, always with the same numbers."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(frames, 4, length, 16, generator=generator).to(dtype) for _ in range(3))
    plan = InterpolationPlan.sequence(torch.linspace(0, 1, frames))
    return dict(q=query, k=key, v=value, plan=plan, fuse_self=True, scale=None)

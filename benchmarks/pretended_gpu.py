"""`python -m benchmarks.pretended_gpu`: a first run of `auto` on a pretended GPU, into docs/choices.md.

Real dispatch, cache and candidates on CPU tensors; the GPU's name is made up, what stands for the kernel is told how to
behave, and the clock is given, so its times are typed and not measured. Writes the section between
`<!-- generated: simulated -->` and its end; `--check` writes nothing and fails if it is not what it would write.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from aid_kernels import Choice, InterpolationPlan, explain, outer_attention
from aid_kernels.interpolated_attention import auto, dispatch, running
from aid_kernels.interpolated_attention.inputs import AttentionInputs
from aid_kernels.interpolated_attention.tuning import settled, tuned

GPU = "NVIDIA H200"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "choices.md"
START, END = "<!-- generated: simulated -->\n", "<!-- end of simulated -->"
FAULT = "out of resource: shared memory, Required: 262144, Hardware limit: 232448"
# milliseconds that the candidates are said to take; None: it fails
TYPED = {"sdpa": (2.0, 2.4), "triton": (1.2, None, 1.0)}

Behaviour = Callable[[Callable[[], Tensor]], Tensor]


def honest(compute: Callable[[], Tensor]) -> Tensor:
    return compute()


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


def install(patch: pytest.MonkeyPatch, cache: str) -> Machine:
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

    patch.setattr(running, "RUNNERS", real | {"triton": kernel, "sdpa": stock})
    for module in (tuned, auto):
        patch.setattr(module, "gpu_name", lambda device: GPU)
    for module in (auto, dispatch):
        patch.setattr(module, "triton_unsupported_reasons", lambda inputs, needs_grad: [])
    patch.setattr(auto, "target_of", lambda device: "sm_90")
    patch.setattr(auto, "clock_for", lambda device: machine)
    patch.setenv("AID_KERNELS_CACHE_DIR", cache)
    patch.delenv("AID_KERNELS_AUTO", raising=False)
    settled.forget()
    return machine


def arguments(length: int = 48, frames: int = 3, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """A call of that length, always with the same numbers."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(frames, 4, length, 16, generator=generator).to(dtype) for _ in range(3))
    plan = InterpolationPlan.sequence(torch.linspace(0, 1, frames))
    return dict(q=query, k=key, v=value, plan=plan, fuse_self=True, scale=None)


def first_run() -> str:
    """What `explain` says before and after the first call of a kind."""
    call = arguments(512, dtype=torch.bfloat16)
    seen: dict[str, list[Choice]] = {name: [] for name in TYPED}
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        machine = install(patch, folder)

        def typed(choice: Choice) -> float | None:
            known = seen[choice.implementation]
            if choice not in known:
                known.append(choice)
            return TYPED[choice.implementation][known.index(choice)]

        def behave(compute: Callable[[], Tensor]) -> Tensor:
            if typed(machine.ran[-1]) is None:
                raise RuntimeError(FAULT)
            return compute()

        machine.behaviour, machine.milliseconds = behave, lambda choice: typed(choice) or 0.0
        before = str(explain(**call))
        outer_attention(**call)
        after = str(explain(**call)).replace(folder, "~/.cache/aid_kernels")
        settled.forget()
    # a digest of this very code and environment
    after = re.sub(r"(/nvidia-h200-)[0-9a-f]+/", r"\g<1><digest>/", after)
    return "\n".join(["`explain` before the first call:", "", _quoted(before), "", "and after it:", "", _quoted(after)])


def filled(page: str) -> str:
    """The page with its section made anew."""
    head, found, rest = page.partition(START)
    _, ended, tail = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"{PAGE.name} has no section between {START.strip()} and {END}")
    return f"{head}{START}\n{first_run()}\n\n{END}{tail}"


def same(one: str, other: str) -> bool:
    """Whether two pages agree but for errors, which depend on the processor's last bits."""
    return _without_errors(one) == _without_errors(other)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    made = filled(page)
    if not check:
        PAGE.write_text(made, encoding="utf-8")
    elif not same(page, made):
        print(f"{PAGE.name} is not what python -m benchmarks.pretended_gpu writes", file=sys.stderr)
        return 1
    return 0


def _quoted(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _without_errors(text: str) -> str:
    return re.sub(r"error \d\S*", "error", text)


if __name__ == "__main__":
    sys.exit(main())

"""Which implementation serves a call, and why the others do not. Reads shapes, dtypes and devices; never a GPU."""

from __future__ import annotations

import importlib
import logging
import os
from dataclasses import dataclass
from types import ModuleType

from torch import Tensor

from ..plan import InterpolationPlan
from .tuning.tuned import describe, gpu_name, measured_for

IMPLEMENTATIONS = ("triton", "sdpa", "reference")
ENVIRONMENT_VARIABLE = "AID_KERNELS_IMPL"

_MODULES = {"triton": "impl.triton.forward", "sdpa": "impl.sdpa", "reference": "impl.reference"}
# where an implementation says what it cannot serve; Triton's is apart so that asking does not import Triton
_SUPPORT = {"triton": "impl.triton.support", "sdpa": "impl.sdpa", "reference": "impl.reference"}

logger = logging.getLogger("aid_kernels")
_announced: set[str] = set()


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns: the implementation that would serve the call, why, and why not the others.

    Attributes:
        implementation: "triton", "sdpa" or "reference".
        reason: why that one.
        refusals: for every implementation the reasons why it cannot serve these inputs; empty: it can.
        log_sum_exp_op: the stock attention op that `sdpa` would run for the rows' own keys, `log_sum_exp_ops.py`.
    """

    implementation: str
    reason: str
    refusals: dict[str, tuple[str, ...]]
    log_sum_exp_op: str

    def __str__(self) -> str:
        lines = [f"{self.implementation}: {self.reason}"]
        for name, reasons in self.refusals.items():
            text = "cannot: " + "; ".join(reasons) if reasons else "can serve these inputs"
            if name == "sdpa" and not reasons:
                text += f", by torch's op {self.log_sum_exp_op!r}"
            lines.append(f"  {name}: {text}")
        return "\n".join(lines)


def choose(
    mode: str,
    impl: str,
    query: Tensor,
    key: Tensor,
    plan: InterpolationPlan,
    bank: tuple[Tensor, Tensor],
    masked: bool,
    needs_grad: bool,
) -> tuple[str, str]:
    """The implementation that serves the call and why; `AID_KERNELS_IMPL` stands in for "auto".

    Raises:
        ValueError: an unknown implementation, or a named one that cannot serve the inputs; it never falls back.
        ConfigFileError: the file of what was measured on this GPU is not as it should be.
    """
    check_name(impl, "impl")
    origin = f"impl={impl!r}"
    if impl == "auto" and os.environ.get(ENVIRONMENT_VARIABLE):
        impl = os.environ[ENVIRONMENT_VARIABLE]
        check_name(impl, ENVIRONMENT_VARIABLE)
        origin = f"{ENVIRONMENT_VARIABLE}={impl}"
    if impl == "auto":
        reasons = refusals("triton", mode, query, key, plan, bank, needs_grad)
        return _automatic(mode, query, key, plan, bank, masked, reasons)
    reasons = refusals(impl, mode, query, key, plan, bank, needs_grad)
    if reasons:
        listed = "\n".join(f"  - {reason}" for reason in reasons)
        raise ValueError(f"{impl} cannot serve this call ({origin}):\n{listed}\nimpl='auto' lets another one serve it")
    return impl, f"asked for by {origin}"


def refusals(
    name: str,
    mode: str,
    query: Tensor,
    key: Tensor,
    plan: InterpolationPlan,
    bank: tuple[Tensor, Tensor],
    needs_grad: bool,
) -> tuple[str, ...]:
    """Every reason why implementation `name` cannot serve these inputs."""
    module = importlib.import_module(f".{_SUPPORT[name]}", __package__)
    reasons = list(module.refusals(mode, query, key, plan, bank))
    if needs_grad and name == "triton":
        reasons.append("an input requires grad, which the kernel does not serve; use sdpa, or torch.no_grad()")
    return tuple(reasons)


def check_name(impl: str, origin: str) -> None:
    """Raise ValueError if `impl` is neither an implementation nor "auto"."""
    if impl != "auto" and impl not in IMPLEMENTATIONS:
        raise ValueError(f"{origin} must be one of auto, {', '.join(IMPLEMENTATIONS)}, got {impl!r}")


def load(name: str) -> ModuleType:
    """The module that implements `name`; Triton is imported here and not before."""
    return importlib.import_module(f".{_MODULES[name]}", __package__)


def announce(mode: str, query: Tensor, name: str, reason: str) -> None:
    """Log the choice once per kind of call."""
    line = f"{mode} attention, {query.device.type} {query.dtype}, head_dim {query.shape[3]}: {name} ({reason})"
    if line not in _announced:
        _announced.add(line)
        logger.info(line)


def _automatic(
    mode: str,
    query: Tensor,
    key: Tensor,
    plan: InterpolationPlan,
    bank: tuple[Tensor, Tensor],
    masked: bool,
    triton_refusals: tuple[str, ...],
) -> tuple[str, str]:
    """The fastest measured implementation; the stock recipe where nothing was measured."""
    if triton_refusals:
        return "sdpa", f"the stock recipe; triton cannot: {triton_refusals[0]}"
    gpu = gpu_name(query.device)
    if gpu is None:
        return "sdpa", "the stock recipe; Triton's interpreter is for tests only"
    found = measured_for(mode, query, key, plan, bank, masked)
    if found is None or found.auto is None:
        return "sdpa", f"the stock recipe; nothing like it was measured on {gpu} (impl='triton' asks for the kernel)"
    return found.auto, f"the faster one on {gpu}: {describe(found.entry)}"

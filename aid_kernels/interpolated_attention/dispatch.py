"""Selection of the implementation that serves a call, with the reasons against the others; never reads a GPU."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..constants import IMPL_VARIABLE, IMPLEMENTATIONS
from .impl.log_sum_exp_ops import selected_op
from .impl.triton.support import unsupported_reasons as triton_unsupported_reasons
from .inputs import AttentionInputs, requires_grad
from .tuning.targets import gpu_name
from .tuning.tuned import describe, tuned_for

# the functions of an implementation, by mode
Kernels = dict[str, Callable[[AttentionInputs], Tensor]]

logger = logging.getLogger("aid_kernels")
_logged: set[str] = set()


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns: the implementation selected for the call, why, and why not the others.

    Attributes:
        implementation: "triton", "sdpa" or "reference".
        reason: why that one.
        unsupported_reasons: for every implementation all reasons why it cannot serve these inputs; empty: it can.
        log_sum_exp_op: the stock attention op that `sdpa` would run for the rows' own keys, `log_sum_exp_ops.py`.
    """

    implementation: str
    reason: str
    unsupported_reasons: dict[str, tuple[str, ...]]
    log_sum_exp_op: str

    def __str__(self) -> str:
        lines = [f"{self.implementation}: {self.reason}"]
        for name, reasons in self.unsupported_reasons.items():
            text = "cannot: " + "; ".join(reasons) if reasons else "can serve these inputs"
            if name == "sdpa" and not reasons:
                text += f", by torch's op {self.log_sum_exp_op!r}"
            lines.append(f"  {name}: {text}")
        return "\n".join(lines)


def run(mode: str, inputs: AttentionInputs, impl: str, needs_grad: bool) -> Tensor:
    """Select an implementation, log the choice, and call it; errors as `select`."""
    name, reason = select(mode, inputs, impl, needs_grad)
    log_choice(mode, inputs, name, reason)
    return _LOADERS[name]()[mode](inputs)


def explain(mode: str, inputs: AttentionInputs, impl: str) -> Explanation:
    """The choice that `run` would make, without running anything; errors as `select`."""
    needs_grad = requires_grad(inputs)
    reasons = {name: tuple(unsupported_reasons(name, inputs, needs_grad)) for name in IMPLEMENTATIONS}
    chosen = select(mode, inputs, impl, needs_grad)
    return Explanation(*chosen, reasons, selected_op(inputs.query, inputs.key, inputs.value, inputs.key_mask))


def select(mode: str, inputs: AttentionInputs, impl: str, needs_grad: bool) -> tuple[str, str]:
    """The implementation that serves the call and why; `AID_KERNELS_IMPL` stands in for "auto".

    Raises:
        ValueError: an unknown implementation, or a named one that cannot serve the inputs; it never falls back.
        ConfigFileError: the tuned configurations of this GPU are not as they should be.
    """
    check_name(impl, "impl")
    origin = f"impl={impl!r}"
    if impl == "auto" and os.environ.get(IMPL_VARIABLE):
        impl = os.environ[IMPL_VARIABLE]
        check_name(impl, IMPL_VARIABLE)
        origin = f"{IMPL_VARIABLE}={impl}"
    if impl == "auto":
        return _fastest(mode, inputs, needs_grad)
    reasons = unsupported_reasons(impl, inputs, needs_grad)
    if reasons:
        listed = "\n".join(f"  - {reason}" for reason in reasons)
        raise ValueError(f"{impl} cannot serve this call ({origin}):\n{listed}\nimpl='auto' lets another one serve it")
    return impl, f"asked for by {origin}"


def unsupported_reasons(name: str, inputs: AttentionInputs, needs_grad: bool) -> list[str]:
    """Every reason why implementation `name` cannot serve these inputs; `sdpa` and `reference` serve all."""
    return triton_unsupported_reasons(inputs, needs_grad) if name == "triton" else []


def check_name(impl: str, origin: str) -> None:
    """Raise ValueError if `impl` is neither an implementation nor "auto"."""
    if not isinstance(impl, str) or (impl != "auto" and impl not in IMPLEMENTATIONS):
        raise ValueError(f"{origin} must be one of auto, {', '.join(IMPLEMENTATIONS)}, got {impl!r}")


def log_choice(mode: str, inputs: AttentionInputs, name: str, reason: str) -> None:
    """Log the selected implementation, once per kind of call."""
    query = inputs.query
    line = f"{mode} attention, {query.device.type} {query.dtype}, head_dim {query.shape[3]}: {name} ({reason})"
    if line not in _logged:
        _logged.add(line)
        logger.info(line)


def _fastest(mode: str, inputs: AttentionInputs, needs_grad: bool) -> tuple[str, str]:
    """The fastest implementation by the tuner's measurements; the stock recipe where there are none."""
    reasons = unsupported_reasons("triton", inputs, needs_grad)
    if reasons:
        return "sdpa", f"the stock recipe; triton cannot: {reasons[0]}"
    gpu = gpu_name(inputs.query.device)
    if gpu is None:
        return "sdpa", "the stock recipe; Triton's interpreter is for tests only"
    tuned = tuned_for(mode, inputs)
    if tuned is None or tuned.auto is None:
        return "sdpa", f"the stock recipe; nothing like it was measured on {gpu} (impl='triton' asks for the kernel)"
    return tuned.auto, f"the faster one on {gpu}: {describe(tuned.entry)}"


def _triton() -> Kernels:
    # Triton is imported here and not before
    from .impl.triton import forward

    return {"outer": forward.outer_attention, "inner": forward.inner_attention}


def _sdpa() -> Kernels:
    from .impl import sdpa

    return {"outer": sdpa.outer_attention, "inner": sdpa.inner_attention}


def _reference() -> Kernels:
    from .impl import reference

    return {"outer": reference.outer_attention, "inner": reference.inner_attention}


_LOADERS: dict[str, Callable[[], Kernels]] = {"triton": _triton, "sdpa": _sdpa, "reference": _reference}

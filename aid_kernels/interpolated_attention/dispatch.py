"""Selection of the implementation that serves a call, with the reasons against the others.

Only the first call of a kind on a GPU that nothing was measured for reads the GPU: `tuning/` then measures it.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from torch import Tensor

from ..constants import IMPL_VARIABLE, IMPLEMENTATIONS
from .auto import automatic, bucket_of, is_traced, never_measured
from .impl.hopper.support import unsupported_reasons as hopper_unsupported_reasons
from .impl.log_sum_exp_ops import selected_op
from .impl.triton.support import unsupported_reasons as triton_unsupported_reasons
from .inputs import AttentionInputs, requires_grad
from .running import run_choice
from .tuning.choice import CallBucket, Choice
from .tuning.measure import Measurement
from .tuning.recording import is_recording, note, replayed
from .tuning.routes import sdpa_route
from .tuning.settled import Settled
from .tuning.tuned import tuned_for

__all__ = ["Explanation", "check_name", "explain", "is_traced", "never_measured", "run", "select"]

logger = logging.getLogger("aid_kernels")
_logged: set[str] = set()


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns: the implementation selected for the call, why, and why not the others.

    Attributes:
        implementation: "triton", "hopper", "sdpa" or "reference".
        reason: why that one.
        unsupported_reasons: for every implementation all reasons why it cannot serve these inputs; empty: it can.
        log_sum_exp_op: the stock attention op that `sdpa` would run for the rows' own keys, `log_sum_exp_ops.py`.
        choice: the implementation with its configuration or route.
        bucket: the kind of call that shares this choice.
        measurement: what was tried on this machine, with errors and times; None where nothing was.
    """

    implementation: str
    reason: str
    unsupported_reasons: dict[str, tuple[str, ...]]
    log_sum_exp_op: str
    choice: Choice
    bucket: CallBucket
    measurement: Measurement | None = None

    def __str__(self) -> str:
        lines = [f"{self.implementation}: {self.reason}"]
        for name, reasons in self.unsupported_reasons.items():
            text = "cannot: " + "; ".join(reasons) if reasons else "can serve these inputs"
            if name == "sdpa" and not reasons:
                text += f", by torch's op {self.log_sum_exp_op!r}"
            lines.append(f"  {name}: {text}")
        if self.measurement is not None:
            lines.append(f"  measured for {self.bucket}:")
            for outcome in self.measurement.outcomes:
                kept = "  <- kept" if outcome.choice == self.measurement.choice else ""
                lines.append(f"    {outcome}{kept}")
        return "\n".join(lines)


def run(mode: str, inputs: AttentionInputs, impl: str, needs_grad: bool) -> Tensor:
    """Select an implementation, log the choice, and call it; errors as `select`."""
    settled = select(mode, inputs, impl, needs_grad, running=True)
    log_choice(mode, inputs, settled.choice, settled.reason)
    if is_recording() and not inputs.by_query:  # one implementation serves those, by rule
        note(bucket_of(mode, inputs), settled.choice)
    return run_choice(mode, settled.choice, inputs)


def explain(mode: str, inputs: AttentionInputs, impl: str) -> Explanation:
    """The choice that `run` would make, without running anything; errors as `select`."""
    needs_grad = requires_grad(inputs)
    reasons = {name: tuple(unsupported_reasons(name, mode, inputs, needs_grad)) for name in IMPLEMENTATIONS}
    found = select(mode, inputs, impl, needs_grad, running=False)
    return Explanation(
        found.choice.implementation,
        found.reason,
        reasons,
        selected_op(inputs.query, inputs.key, inputs.value, inputs.key_mask),
        found.choice,
        bucket_of(mode, inputs),
        found.measurement,
    )


def select(mode: str, inputs: AttentionInputs, impl: str, needs_grad: bool, *, running: bool) -> Settled:
    """The choice that serves the call and why; `AID_KERNELS_IMPL` stands in for "auto".

    Args:
        running: as in `automatic`.

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
        return automatic(mode, inputs, needs_grad, running=running)
    reasons = unsupported_reasons(impl, mode, inputs, needs_grad)
    if reasons:
        listed = "\n".join(f"  - {reason}" for reason in reasons)
        raise ValueError(f"{impl} cannot serve this call ({origin}):\n{listed}\nimpl='auto' lets another one serve it")
    return Settled(_named(mode, inputs, impl), f"asked for by {origin}")


def unsupported_reasons(name: str, mode: str, inputs: AttentionInputs, needs_grad: bool) -> list[str]:
    """Every reason why implementation `name` cannot serve these inputs; `sdpa` and `reference` serve all."""
    if name == "hopper":
        return hopper_unsupported_reasons(mode, inputs, needs_grad)
    return triton_unsupported_reasons(inputs, needs_grad) if name == "triton" else []


def check_name(impl: str, origin: str) -> None:
    """Raise ValueError if `impl` is neither an implementation nor "auto"."""
    if not isinstance(impl, str) or (impl != "auto" and impl not in IMPLEMENTATIONS):
        raise ValueError(f"{origin} must be one of auto, {', '.join(IMPLEMENTATIONS)}, got {impl!r}")


def log_choice(mode: str, inputs: AttentionInputs, choice: Choice, reason: str) -> None:
    """Log the selected implementation, once per kind of call."""
    query = inputs.query
    line = f"{mode} attention, {query.device.type} {query.dtype}, head_dim {query.shape[3]}: {choice} ({reason})"
    if line not in _logged:
        _logged.add(line)
        logger.info(line)


def _named(mode: str, inputs: AttentionInputs, impl: str) -> Choice:
    """A named implementation with the configuration that the tables give it, or that a recorded sequence had."""
    before = replayed(bucket_of(mode, inputs))
    if before is not None and before.implementation == impl:
        return before
    if impl == "sdpa":
        return Choice("sdpa", route=sdpa_route(mode, inputs))
    if impl == "triton":
        tuned = tuned_for(mode, inputs)
        return Choice("triton") if tuned is None else Choice("triton", tuned.config, tuned.mix)
    return Choice(impl)

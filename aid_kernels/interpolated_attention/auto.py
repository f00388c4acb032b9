"""What impl="auto" means: the fastest implementation by a shipped file, the user's cache, or a measurement made now."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from torch import Tensor

from ..constants import AUTO_VARIABLE
from ..plan.values import device_of
from .impl.hopper.support import unsupported_reasons as hopper_unsupported_reasons
from .impl.triton.support import unsupported_reasons as triton_unsupported_reasons
from .inputs import AttentionInputs
from .running import run_choice
from .tuning.cache import Cache, say_once
from .tuning.candidates import stock_candidates, triton_candidates
from .tuning.choice import CallBucket, Choice
from .tuning.clocks import clock_for
from .tuning.measure import BUDGET_MS, Measurement, measure
from .tuning.recording import replayed
from .tuning.routes import offers_routes, sdpa_route
from .tuning.settled import Settled, agreed, cache_for, is_settled, known, settle
from .tuning.targets import gpu_name, target_of
from .tuning.tuned import describe, tuned_for

_forbidden: ContextVar[str | None] = ContextVar("forbidden", default=None)

AUTO_SETTINGS = ("measure", "static")
# free memory that measuring wants, as a multiple of the call's own
MEMORY = 2


def bucket_of(mode: str, inputs: AttentionInputs) -> CallBucket:
    """The bucket of a call."""
    device = inputs.query.device
    return CallBucket.of(mode, inputs, gpu_name(device) or device.type)


def measured_here(device: torch.device | str) -> tuple[Path, list[tuple[CallBucket, Measurement]]]:
    """The cache's folder of a device, "cuda" or "cpu", and everything that was measured on it.

    Raises:
        TypeError, ValueError: no device of torch's here.
    """
    found = device_of(device)
    cache = cache_for(gpu_name(found) or found.type)
    return cache.folder, cache.entries()


def automatic(mode: str, inputs: AttentionInputs, needs_grad: bool, *, running: bool) -> Settled:
    """The choice that serves a call.

    Args:
        needs_grad: autograd asks for gradients.
        running: the call is about to run, so it may be measured and its choice is settled; else it is only asked about.

    Raises:
        ConfigFileError: the tuned configurations of this GPU are not as they should be.
        ValueError: `AID_KERNELS_AUTO` says something unknown.
    """
    bucket = bucket_of(mode, inputs)
    reasons = triton_unsupported_reasons(inputs, needs_grad)
    # masks with a query axis are not recorded: their bucket is that of masks of keys, which the kernel may serve
    prescribed = None if inputs.by_query else replayed(bucket)
    if prescribed is not None:
        against = _reasons_against(prescribed, mode, inputs, needs_grad)
        if not against:
            return Settled(prescribed, "the choice of the recorded sequence")
        say_once(f"recorded was {prescribed}, which cannot serve here: {against[0]}; bits may differ")
    stock = Choice("sdpa", route=sdpa_route(mode, inputs))
    if reasons:
        return _without_triton(bucket, stock, f"the stock recipe; triton cannot: {reasons[0]}")
    gpu = gpu_name(inputs.query.device)
    if gpu is None:
        return _without_triton(bucket, stock, "the stock recipe; Triton's interpreter is for tests only")
    tuned = tuned_for(mode, inputs)
    if tuned is not None and tuned.auto is not None:
        choice = Choice("triton", tuned.config, tuned.mix) if tuned.auto == "triton" else stock
        return Settled(choice, f"the faster one on {gpu}: {describe(tuned.entry)}")
    found = known(bucket)
    if found is None or (running and not is_settled(bucket)):
        found = _measured(bucket, inputs, stock, running)
    against = _reasons_against(found.choice, mode, inputs, needs_grad)
    return _next_best(found, stock, against[0]) if against else found


def _reasons_against(choice: Choice, mode: str, inputs: AttentionInputs, needs_grad: bool) -> list[str]:
    """Why a choice cannot serve a call: of one bucket, "hopper" serves some calls and not others."""
    if choice.implementation == "triton":
        return triton_unsupported_reasons(inputs, needs_grad)
    return hopper_unsupported_reasons(mode, inputs, needs_grad) if choice.implementation == "hopper" else []


def _next_best(found: Settled, stock: Choice, why: str) -> Settled:
    """The fastest other implementation of the bucket's measurement."""
    timed = [] if found.measurement is None else found.measurement.outcomes
    others = [
        (outcome.milliseconds, place, outcome.choice)
        for place, outcome in enumerate(timed)
        if outcome.milliseconds is not None and outcome.choice.implementation != found.choice.implementation
    ]
    choice = min(others)[2] if others else stock
    return Settled(choice, f"{found.choice} cannot serve this call of its kind: {why}", found.measurement)


def _measured(bucket: CallBucket, inputs: AttentionInputs, stock: Choice, running: bool) -> Settled:
    """Settle a bucket that nothing is settled for, or say what the first call will do."""
    forbidden = why_not_measured(inputs)
    why = f"the stock recipe; nothing like it was measured on {bucket.device}"
    if not running:
        candidates = ", ".join(str(choice) for choice in _candidates(bucket, inputs))
        news = f"the first such call measures {candidates}" if forbidden is None else f"not measured: {forbidden}"
        return Settled(stock, f"{why} ({news})")
    if forbidden is not None:
        return settle(bucket, stock, f"{why} (not measured: {forbidden})", None)
    return settle(bucket, stock, why, lambda cache: measure_call(bucket, inputs, cache))


def measure_call(
    bucket: CallBucket,
    inputs: AttentionInputs,
    cache: Cache,
    budget: float = BUDGET_MS,
    choices: list[Choice] | None = None,
) -> Measurement | None:
    """Measure a bucket's candidates on a call's own tensors; a crash of the process is noted for the next one."""

    def run(choice: Choice, part: AttentionInputs) -> Tensor:
        return run_choice(bucket.mode, choice, part)

    clock = clock_for(inputs.query.device)
    with torch.no_grad(), cache.trial(bucket) as trial:
        return measure(
            bucket,
            inputs,
            choices or _candidates(bucket, inputs),
            run,
            clock,
            excluded=trial.crashed(),
            trying=trial.note,
            budget=budget,
        )


def why_not_triton(inputs: AttentionInputs) -> list[str]:
    """Every reason why the kernel cannot serve a call without gradients; empty if it can."""
    return triton_unsupported_reasons(inputs, False)


def why_not_measured(inputs: AttentionInputs) -> str | None:
    """Why a call may not be measured now; None if it may."""
    setting = os.environ.get(AUTO_VARIABLE) or "measure"
    if setting not in AUTO_SETTINGS:
        raise ValueError(f"{AUTO_VARIABLE} must be one of {', '.join(AUTO_SETTINGS)}, got {setting!r}")
    if setting == "static":
        return f"{AUTO_VARIABLE}=static"
    if _forbidden.get() is not None:
        return _forbidden.get()
    if inputs.query.device.type == "cuda":
        if torch.cuda.is_current_stream_capturing():
            return "a CUDA graph is being captured"
        free, _ = torch.cuda.mem_get_info(inputs.query.device)
        free += torch.cuda.memory_reserved(inputs.query.device) - torch.cuda.memory_allocated(inputs.query.device)
        needed = MEMORY * sum(tensor.numel() * tensor.itemsize for tensor in (*inputs[:3], inputs.query))
        if free < needed:
            return f"{needed / 2**20:.0f} MiB of memory would be needed, {free / 2**20:.0f} are free"
    return None


def _without_triton(bucket: CallBucket, stock: Choice, why: str) -> Settled:
    """The stock recipe by its rule; on the CPU by the user's cache, where there is something in it."""
    if bucket.device != "cpu" or not offers_routes(bucket.mode, bucket.masked, bucket.fuse_self):
        return Settled(stock, why)
    return settle(bucket, stock, why, None, reach=0)


def _candidates(bucket: CallBucket, inputs: AttentionInputs) -> list[Choice]:
    """The stock recipe first, then the kernel."""
    target, settled = target_of(inputs.query.device), agreed(bucket)
    choices = [
        *stock_candidates(bucket, sdpa_route(bucket.mode, inputs)),
        *triton_candidates(bucket, target, settled),
    ]
    # it adds in an order of its own: no candidate where buckets with other sources run the kernel
    if settled is None and not hopper_unsupported_reasons(bucket.mode, inputs, False):
        choices.append(Choice("hopper"))
    return choices


@contextmanager
def never_measured(why: str) -> Iterator[None]:
    """While active, this thread's calls are not measured."""
    token = _forbidden.set(why)
    try:
        yield
    finally:
        _forbidden.reset(token)


def is_traced() -> bool:
    """Whether torch records what is called, by `torch.jit.trace` or `make_fx`; inside an op nobody can tell."""
    tracer = sys.modules.get("torch.fx.experimental.proxy_tensor")
    return torch._C._get_tracing_state() is not None or (tracer is not None and tracer.get_proxy_mode() is not None)

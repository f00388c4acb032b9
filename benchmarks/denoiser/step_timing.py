"""Times and peak memory of calls that take milliseconds to seconds, host work included, as a pipeline meets them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.common.memory import peak_extra_bytes
from benchmarks.common.timing import MIB


@dataclass(frozen=True)
class Times:
    """Percentiles of a call's time, in milliseconds."""

    p20: float
    median: float
    p80: float


def time_call(call: Callable[[], object], device: torch.device, rounds: int, repeats: int = 1) -> Times:
    """Of `rounds` timings, after one call that does not count; each over `repeats` calls in a row."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    call()
    wait()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(repeats):
            call()
        wait()
        times.append(1e3 * (time.perf_counter() - began) / repeats)
    return Times(*torch.tensor(times, dtype=torch.float64).quantile(torch.tensor([0.2, 0.5, 0.8]).double()).tolist())


def peak_mib(call: Callable[[], object], module: nn.Module, device: torch.device) -> float:
    """MiB that tensors take at most during `call`, the module's weights included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) / MIB
    weights = sum(parameter.nbytes for parameter in module.parameters())
    return (weights + peak_extra_bytes(call)) / MIB

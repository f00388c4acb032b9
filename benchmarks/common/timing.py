"""Times and peak memory of a call: CUDA events over rotating inputs on a GPU, a plain loop on the CPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from benchmarks.common.memory import peak_extra_bytes

MIB = 2**20
MOST_SETS = 64
# of a measurement on the CPU, which is there to try the code: enough rounds, or enough time
CPU_ROUNDS, CPU_SECONDS = 5, 0.1
# of a measurement on a GPU
LEAST_ROUNDS, MOST_ROUNDS = 7, 300
LAUNCHES_PER_WRITE = 2  # sizes of the L2 that are written over before every launch


@dataclass(frozen=True)
class Timing:
    """Percentiles in ms; `host_us`: what a call takes of the host, which waits for nothing."""

    median_ms: float
    p20_ms: float
    p80_ms: float
    rounds: int
    host_us: float

    def row(self) -> dict[str, float | int]:
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in vars(self).items()}


def summarize(times_ms: Sequence[float], host_us: float = 0.0) -> Timing:
    """Median and percentiles of single times, interpolated."""
    low, median, high = torch.tensor(times_ms, dtype=torch.float64).quantile(
        torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    )
    return Timing(median.item(), low.item(), high.item(), len(times_ms), host_us)


def l2_bytes(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).L2_cache_size)


def rotation(bytes_of_a_set: int, device: torch.device) -> int:
    """How many sets of inputs to take in turns so that together they are larger than twice the L2."""
    if device.type != "cuda":
        return 2
    return max(2, min(MOST_SETS, -(-2 * l2_bytes(device) // max(1, bytes_of_a_set))))


def measure(call: Callable[[int], object], sets: int, device: torch.device, milliseconds: float = 60.0) -> Timing:
    """Times of `call(i)` on the i-th of `sets` inputs, in turns, over about `milliseconds` of it.

    On a GPU as `triton.testing.do_bench` does it: an event on either side of the call, the L2 written over before.
    Launches queue up behind a wait as long as the host needs for them, so that the device's own time is measured; the
    host's stands beside it.
    """
    if device.type != "cuda":
        times: list[float] = []
        while len(times) < CPU_ROUNDS and sum(times) < CPU_SECONDS:
            times.append(_seconds(call, len(times) % sets))
        return summarize([1e3 * seconds for seconds in times])
    call(0)
    torch.cuda.synchronize(device)
    host = statistics.median(_seconds(call, place % sets) for place in range(5))
    torch.cuda.synchronize(device)
    rough = _events(call, sets, device, 3, host)
    rounds = max(LEAST_ROUNDS, min(MOST_ROUNDS, int(milliseconds / max(1e-3, statistics.median(rough)))))
    return summarize(_events(call, sets, device, rounds, host), host * 1e6)


def _events(call: Callable[[int], object], sets: int, device: torch.device, rounds: int, host: float) -> list[float]:
    waste = torch.empty(LAUNCHES_PER_WRITE * l2_bytes(device), dtype=torch.uint8, device=device)
    clock_hz = 2e9  # a slower clock only waits longer
    pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(rounds)]
    with torch.cuda.device(device):
        for place, (start, end) in enumerate(pairs):
            waste.zero_()
            torch.cuda._sleep(int(1.5 * host * clock_hz))
            start.record()
            call(place % sets)
            end.record()
        torch.cuda.synchronize(device)
    return [start.elapsed_time(end) for start, end in pairs]


def _seconds(call: Callable[[int], object], place: int) -> float:
    start = time.perf_counter()
    call(place)
    return time.perf_counter() - start


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """Most bytes alive at once beyond what was alive before the call, its result included."""
    if device.type != "cuda":
        return peak_extra_bytes(call)
    call()
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    result = call()
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) - before
    del result
    return peak

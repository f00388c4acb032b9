"""Clocks: how long a call takes on its device."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Protocol

import torch


class Clock(Protocol):
    """What `measure` is given."""

    def time(self, call: Callable[[], object]) -> float:
        """Milliseconds of one call."""

    def typical(self, times: list[float]) -> float:
        """One number for a candidate's rounds."""

    def recover(self) -> None:
        """After a failed call: wait for the device and free what it left. Raises if the device is lost."""


class EventClock:
    """A CUDA or ROCm device, by its events: the time between two points of its stream."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def time(self, call: Callable[[], object]) -> float:
        with torch.cuda.device(self._device):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end))

    def typical(self, times: list[float]) -> float:
        return median(times)

    def recover(self) -> None:
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()


class ProcessorClock:
    """The CPU, by the time its cores spent on this process, over torch's threads: other programs do not count."""

    def time(self, call: Callable[[], object]) -> float:
        start = time.process_time()
        call()
        return 1e3 * (time.process_time() - start) / torch.get_num_threads()

    def typical(self, times: list[float]) -> float:
        """The least: what else runs on a shared machine only adds to it."""
        return min(times)

    def recover(self) -> None:
        """Nothing to wait for."""


def clock_for(device: torch.device) -> Clock:
    return EventClock(device) if device.type == "cuda" else ProcessorClock()

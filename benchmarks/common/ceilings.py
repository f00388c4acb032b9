"""What this device can do at most, measured: a large matrix product and a large copy."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch

from benchmarks.common.settings import BenchmarkSettings, Row
from benchmarks.common.timing import Timing, measure

MATMUL = 8192  # rows and columns
COPY_BYTES = 2**32
SMOKE_MATMUL, SMOKE_COPY_BYTES = 64, 2**16
SETS = 2


def estimated_minutes(settings: BenchmarkSettings) -> float:
    return 0.1


def run(settings: BenchmarkSettings) -> Iterator[Row]:
    """Two rows: `tflops` of the product in the settings' dtype, `gb_per_s` of the copy, bytes read plus written."""
    size, timing = matmul(settings)
    flops = 2 * size**3
    yield {"part": "ceilings", "peer": f"matmul {size}"} | timing.row() | {"tflops": _rate(flops, timing) / 1e12}
    size, timing = copy(settings)
    yield (
        {"part": "ceilings", "peer": f"copy {size} bytes"} | timing.row() | {"gb_per_s": _rate(2 * size, timing) / 1e9}
    )


def matmul_flops_per_second(settings: BenchmarkSettings) -> float:
    """The ceiling that `ceiling_share` is a share of; measured once a process."""
    size, timing = matmul(settings)
    return _rate(2 * size**3, timing)


def copy_bytes_per_second(settings: BenchmarkSettings) -> float:
    """Read plus written; measured once a process."""
    size, timing = copy(settings)
    return _rate(2 * size, timing)


def matmul(settings: BenchmarkSettings) -> tuple[int, Timing]:
    """Rows of the square matrices, and the times of one product, on random data."""
    return _matmul(settings.device, settings.dtype, SMOKE_MATMUL if settings.smoke else MATMUL)


def copy(settings: BenchmarkSettings) -> tuple[int, Timing]:
    """Bytes of the buffer, and the times of copying it to another."""
    return _copy(settings.device, SMOKE_COPY_BYTES if settings.smoke else COPY_BYTES)


@functools.cache
def _matmul(device: torch.device, dtype: torch.dtype, size: int) -> tuple[int, Timing]:
    pairs = [[torch.randn(size, size, device=device).to(dtype) for _ in range(2)] for _ in range(SETS)]
    return size, measure(lambda place: pairs[place][0] @ pairs[place][1], SETS, device, milliseconds=150)


@functools.cache
def _copy(device: torch.device, size: int) -> tuple[int, Timing]:
    source = torch.randint(256, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return size, measure(lambda _: target.copy_(source), SETS, device, milliseconds=150)


def _rate(amount: float, timing: Timing) -> float:
    return amount / (timing.median_ms * 1e-3)

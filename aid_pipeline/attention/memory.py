"""Memory of a denoiser call: how many rows fit one chunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..errors import AIDError

CPU_ROWS = 16
"""Rows per chunk that `chunk="auto"` takes on the CPU, where larger batches are hardly faster but need more memory."""

GPU_SHARE = 0.7
"""Share of the free GPU memory that `chunk="auto"` plans with; the rest is for fragmentation and workspaces."""


def auto_chunk(rows: int, device: torch.device, bytes_per_row: int | None = None, reserved_bytes: int = 0) -> int:
    """Rows per chunk for a call of `rows` rows: as many as fit, split into chunks of about equal length.

    Args:
        rows: of the call.
        device: of the denoiser. On the CPU at most `CPU_ROWS`; on a GPU what fits `GPU_SHARE` of its free memory.
        bytes_per_row: peak memory of one row, as `measure_row` found it; needed on a GPU.
        reserved_bytes: memory that the bank will take.
    """
    if device.type == "cuda":
        if bytes_per_row is None:
            raise AIDError("auto_chunk on a GPU needs bytes_per_row; measure_row finds it")
        free = (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
        most = int((GPU_SHARE * free - reserved_bytes) // max(bytes_per_row, 1))
    else:
        most = CPU_ROWS
    most = max(1, min(most, rows))
    return -(-rows // -(-rows // most))


def measure_row(run_one: Callable[[], Any], device: torch.device) -> int:
    """Peak GPU memory, in bytes, of `run_one`, which runs the denoiser over a single row. Resets the peak counter."""
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run_one()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before

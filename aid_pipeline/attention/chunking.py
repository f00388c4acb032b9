"""A denoiser call of many rows as several runs of few: which rows, in which order, and how tensors are cut and joined.

The endpoints come first and leave their keys and values in the bank; every later run reads it. Endpoints never depend
on other frames, so any number of rows per run gives the same frames.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aid_kernels import InterpolationPlan

from ..config import AIDConfig
from ..errors import AIDError
from .state import Pass

SHARED_ARGUMENTS = frozenset({"txt_ids", "img_ids", "image_rotary_emb"})
"""Arguments with positions, not rows, in their first dimension, whatever its length."""

CPU_ROWS = 16
"""Rows per run that `chunk="auto"` takes on the CPU, where larger batches are hardly faster but need more memory."""

GPU_SHARE = 0.7
"""Share of the free GPU memory that `chunk="auto"` plans with; the rest is for fragmentation and workspaces."""


@dataclass(frozen=True)
class Run:
    """Some rows of the batch, on the call's device, and how the denoiser is to run over them."""

    rows: Tensor | slice
    count: int
    how: Pass


def plan_runs(
    batch: int,
    chunk: int | None,
    plan: InterpolationPlan | None,
    config: AIDConfig,
    skips_linear_cross: bool,
    device: torch.device,
    *,
    saves: bool = False,
    remembered: Sequence[int] = (),
) -> tuple[list[Run], Tensor | None]:
    """The runs that make up a call, and the order that puts their outputs back; None: they are in order already.

    Args:
        batch: rows of the call.
        chunk: most rows per run; None: one run.
        plan: of all rows; None: all plain.
        config, skips_linear_cross: what every `Pass` is given.
        device: where the row indices are needed.
        saves: the endpoints' bank is wanted after the call, so they leave it even where one run has all rows.
        remembered: rows of endpoints whose outputs and bank are known: they are not run, and come first in the order.
    """

    def how(part: InterpolationPlan | None, saved_rows: int = 0, reads_bank: bool = False) -> Pass:
        if part is not None and not part.num_interpolated:
            part, reads_bank = None, False
        return Pass(part, config, saved_rows, reads_bank, skips_linear_cross)

    interpolates = plan is not None and plan.num_interpolated > 0
    if remembered:
        others = [row for row in range(batch) if row not in set(remembered)]
        sources = _sources(plan) if plan is not None else []
        runs = [
            (rows, how(plan.select(rows, bank=sources) if plan is not None else None, reads_bank=True))
            for rows in _cut(others, chunk or len(others))
        ]
        return _placed(runs, device, first=remembered)
    if (chunk is None or chunk >= batch) and not (saves and interpolates):
        return [Run(slice(0, batch), batch, how(plan))], None
    chunk = batch if chunk is None else chunk
    if plan is None or not interpolates:
        cuts = _cut(range(batch), chunk)
        return [Run(slice(rows[0], rows[-1] + 1), len(rows), how(None)) for rows in cuts], None
    sources = _sources(plan)
    others = [row for row in range(batch) if row not in set(sources)]
    cuts = _cut(sources + others, chunk)
    if len(sources) <= len(cuts[0]):
        # one run holds all endpoints: they are its first rows, and the bank of whatever else fits beside them
        rows, *cuts = cuts
        runs = [(rows, how(plan.select(rows, bank=sources), saved_rows=len(sources)))]
    else:
        runs = [(rows, how(None, saved_rows=len(rows))) for rows in _cut(sources, chunk)]
        cuts = _cut(others, chunk)
    runs += [(rows, how(plan.select(rows, bank=sources), reads_bank=True)) for rows in cuts]
    return _placed(runs, device)


def take_rows(value: Any, rows: Tensor | slice, batch: int, name: str = "") -> Any:
    """The same nested arguments with `rows` of every tensor whose first dimension is the batch; the rest as it is."""
    if name in SHARED_ARGUMENTS:
        return value
    if isinstance(value, Tensor):
        if value.ndim == 0 or value.shape[0] != batch:
            return value
        return value[rows] if isinstance(rows, slice) else value.index_select(0, rows.to(value.device))
    if isinstance(value, dict):
        return {key: take_rows(item, rows, batch, str(key)) for key, item in value.items()}
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        return type(value)(take_rows(item, rows, batch, name) for item in value)
    return value


def join_outputs(outputs: Sequence[Any], back: Tensor | None) -> Any:
    """One output of the runs' outputs: tensors, tuples or diffusers' output classes, rows in the call's order."""
    first = outputs[0]
    if isinstance(first, Tensor):
        joined = torch.cat(list(outputs))
        return joined if back is None else joined.index_select(0, back.to(joined.device))
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in dataclasses.fields(first)]
        return type(first)(
            **{name: join_outputs([getattr(output, name) for output in outputs], back) for name in names}
        )
    if isinstance(first, tuple | list):
        return type(first)(join_outputs(parts, back) for parts in zip(*outputs, strict=True))
    if first is None:
        return None
    raise AIDError(
        f"the denoiser returned a {type(first).__name__}, which runs in chunks cannot be joined; use chunk=None"
    )


def output_rows(output: Any, rows: Sequence[int]) -> Any:
    """These rows of a denoiser's output (a tensor, a tuple or diffusers' output class), in a copy of their own."""
    if isinstance(output, Tensor):
        return output.index_select(0, torch.tensor(rows, device=output.device))
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        names = [field.name for field in dataclasses.fields(output)]
        return type(output)(**{name: output_rows(getattr(output, name), rows) for name in names})
    if isinstance(output, tuple | list):
        return type(output)(output_rows(part, rows) for part in output)
    return output


def auto_chunk(rows: int, device: torch.device, bytes_per_row: int | None = None, reserved_bytes: int = 0) -> int:
    """Rows per run for a call of `rows` rows: as many as fit, cut into runs of about equal length.

    Args:
        rows: of the call.
        device: of the denoiser. On the CPU at most `CPU_ROWS`; on a GPU what fits `GPU_SHARE` of its free memory.
        bytes_per_row: peak memory of one row, as `measure_row` found it; needed on a GPU.
        reserved_bytes: memory the bank will take.
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


def _sources(plan: InterpolationPlan) -> list[int]:
    return sorted(set(plan.host_sources[plan.host_weights != 0].tolist()))


def _placed(
    runs: Sequence[tuple[list[int], Pass]], device: torch.device, first: Sequence[int] = ()
) -> tuple[list[Run], Tensor]:
    """Runs with their rows on the device, and the order that puts `first` and then their outputs back."""
    order = [*first, *(row for rows, _ in runs for row in rows)]
    back = torch.tensor(order).argsort().to(device)
    return [Run(torch.tensor(rows, device=device), len(rows), made) for rows, made in runs], back


def _cut(rows: Sequence[int], most: int) -> list[list[int]]:
    """As few parts of at most `most` rows as possible, of nearly equal length: fewer shapes to compile."""
    parts = -(-len(rows) // most)
    bounds = [len(rows) * part // parts for part in range(parts + 1)] if parts else [0]
    return [list(rows[start:stop]) for start, stop in itertools.pairwise(bounds)]

"""Plan of a denoiser call in chunks of few rows: which rows, in which order, and what attention does in each.

The endpoints come first and leave their keys and values in the bank; every later chunk reads it. Endpoints never depend
on other frames, so any number of rows per chunk gives the same frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aid_kernels import InterpolationPlan

from .state import AttentionContext


@dataclass(frozen=True)
class Chunk:
    """Some rows of the batch, on the call's device, and how attention runs over them."""

    rows: Tensor | slice
    count: int
    context: AttentionContext


def plan_chunks(
    batch: int,
    most: int | None,
    plan: InterpolationPlan | None,
    base: AttentionContext,
    device: torch.device,
    *,
    saves: bool = False,
    cached: Sequence[int] = (),
) -> tuple[list[Chunk], Tensor | None]:
    """The chunks that make up a call, and the order that puts their outputs back; None means they are in order.

    Args:
        batch: rows of the call.
        most: rows per chunk at most; None means one chunk.
        plan: of all rows; None means all plain.
        base: context of every chunk, but for its plan and bank.
        device: where the row indices are needed.
        saves: the endpoints' bank is wanted after the call, so they leave it even where one chunk has all rows.
        cached: rows of endpoints whose outputs and bank are known: they are in no chunk, and come first in the order.
    """

    def context(
        rows: int, part: InterpolationPlan | None, saved_rows: int = 0, reads_bank: bool = False
    ) -> AttentionContext:
        if part is not None and not part.num_interpolated:
            part, reads_bank = None, False
        return replace(base, plan=part, rows=rows, saved_rows=saved_rows, reads_bank=reads_bank)

    interpolates = plan is not None and plan.num_interpolated > 0
    if cached:
        others = [row for row in range(batch) if row not in set(cached)]
        sources = endpoint_rows(plan) if plan is not None else []
        parts = [
            (rows, context(len(rows), plan.select(rows, bank=sources) if plan is not None else None, reads_bank=True))
            for rows in _split(others, most or len(others))
        ]
        return _placed(parts, device, first=cached)
    if (most is None or most >= batch) and not (saves and interpolates):
        return [Chunk(slice(0, batch), batch, context(batch, plan))], None
    most = batch if most is None else most
    if plan is None or not interpolates:
        slices = _split(range(batch), most)
        return [Chunk(slice(rows[0], rows[-1] + 1), len(rows), context(len(rows), None)) for rows in slices], None
    sources = endpoint_rows(plan)
    others = [row for row in range(batch) if row not in set(sources)]
    slices = _split(sources + others, most)
    if len(sources) <= len(slices[0]):
        # one chunk holds all endpoints: they are its first rows, and the bank of whatever else fits beside them
        rows, *slices = slices
        parts = [(rows, context(len(rows), plan.select(rows, bank=sources), saved_rows=len(sources)))]
    else:
        parts = [(rows, context(len(rows), None, saved_rows=len(rows))) for rows in _split(sources, most)]
        slices = _split(others, most)
    parts += [(rows, context(len(rows), plan.select(rows, bank=sources), reads_bank=True)) for rows in slices]
    return _placed(parts, device)


def endpoint_rows(plan: InterpolationPlan) -> list[int]:
    """The rows that others interpolate between."""
    return sorted(set(plan.host_sources[plan.host_weights != 0].tolist()))


def _placed(
    parts: Sequence[tuple[list[int], AttentionContext]], device: torch.device, first: Sequence[int] = ()
) -> tuple[list[Chunk], Tensor]:
    """Chunks with their rows on the device, and the order that puts `first` and then their outputs back."""
    order = [*first, *(row for rows, _ in parts for row in rows)]
    back = torch.tensor(order).argsort().to(device)
    return [Chunk(torch.tensor(rows, device=device), len(rows), context) for rows, context in parts], back


def _split(rows: Sequence[int], most: int) -> list[list[int]]:
    """As few parts of at most `most` rows as possible, of nearly equal length: fewer shapes to compile."""
    parts = -(-len(rows) // most)
    bounds = [len(rows) * part // parts for part in range(parts + 1)] if parts else [0]
    return [list(rows[start:stop]) for start, stop in itertools.pairwise(bounds)]

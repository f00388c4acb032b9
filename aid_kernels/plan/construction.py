"""Sources and weights of the usual plans: a sequence, a chain of keyframes, any grid between endpoints.

Every function returns integer sources and floating point weights, both (m, J) on the CPU; endpoints weigh zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from .validation import SUM_TOLERANCE
from .values import floats, integer, integers


def sequence(coefficients: Any) -> tuple[Tensor, Tensor]:
    """Rows between the first and the last one; arguments and errors as `InterpolationPlan.sequence`."""
    t = _coefficients(coefficients)
    _check_unit_interval(t, "coefficients")
    if t[0] != 0 or t[-1] != 1:
        raise ValueError(
            f"coefficients must start at 0 and end at 1, got {t[0].item():g} and {t[-1].item():g}; "
            "put the two endpoints' rows first and last"
        )
    return _between_neighbours(t, [0, t.numel() - 1])


def keyframes(coefficients: Any, frames_per_key: int | Sequence[int] | None) -> tuple[Tensor, Tensor]:
    """Rows along a chain; arguments and errors as `InterpolationPlan.keyframes`."""
    t = _coefficients(coefficients)
    position = t if frames_per_key is None else _chain_positions(t, frames_per_key)
    if position[0] != 0 or (position.diff() < 0).any():
        raise ValueError(f"keyframe positions must start at 0 and never decrease, got {position.tolist()}")
    # no more keyframes than rows: a position of 1e12 must not make as many steps
    last = min(int(position[-1].floor()), position.numel())
    rows = [(position == key).nonzero() for key in range(last + 1)]
    if position[-1] != len(rows) - 1 or len(rows) < 2 or not all(len(row) for row in rows):
        raise ValueError(
            f"every keyframe 0, 1, ... needs a row at that whole position, and the last row must be one; "
            f"got {position.tolist()}"
        )
    return _between_neighbours(position, [int(row[0]) for row in rows])


def barycentric(weights: Any, endpoints: Sequence[int] | None) -> tuple[Tensor, Tensor]:
    """Rows between J endpoints; arguments and errors as `InterpolationPlan.barycentric`."""
    w = floats(weights, "weights")
    if w.ndim != 2 or w.shape[1] < 1:
        raise ValueError(f"barycentric weights must be (m, J) with J >= 1, got shape {tuple(w.shape)}")
    if not ((w.sum(dim=1) - 1).abs() <= SUM_TOLERANCE).all():
        raise ValueError(f"every row of barycentric weights must sum to 1, got sums {w.sum(dim=1).tolist()}")
    if endpoints is None:
        found = [(w[:, j] == 1).nonzero() for j in range(w.shape[1])]
        missing = [j for j, rows in enumerate(found) if not len(rows)]
        if missing:
            raise ValueError(f"no row has weight 1 on endpoint(s) {missing}; add such rows or pass endpoints=[...]")
        endpoints = [int(rows[0]) for rows in found]
    endpoints = integers(endpoints, "endpoints")
    if len(endpoints) != w.shape[1] or not all(0 <= row < w.shape[0] for row in endpoints):
        raise ValueError(f"endpoints must be {w.shape[1]} rows in [0, {w.shape[0]}), got {endpoints}")
    w = w.clone()
    w[endpoints] = 0
    return torch.tensor([endpoints] * w.shape[0], dtype=torch.int64, device="cpu").reshape(w.shape), w


def stacked(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Several plans' int32 sources and float32 weights as one's: rows stacked, sources shifted by the rows before."""
    rows, width = sum(len(sources) for sources, _ in parts), max(sources.shape[1] for sources, _ in parts)
    all_sources = torch.zeros(rows, width, dtype=torch.int32, device="cpu")
    all_weights = torch.zeros(rows, width, dtype=torch.float32, device="cpu")
    start = 0
    for sources, weights in parts:
        stop = start + len(sources)
        all_sources[start:stop] = start
        all_sources[start:stop, : sources.shape[1]] += sources
        all_weights[start:stop, : sources.shape[1]] = weights
        start = stop
    return all_sources, all_weights


def _between_neighbours(position: Tensor, keys: list[int]) -> tuple[Tensor, Tensor]:
    """Rows at `position` along keyframes that stand in rows `keys`, each a mix of its two neighbours."""
    leg = position.floor().clamp(max=len(keys) - 2).long()
    t = position - leg
    rows = torch.tensor(keys, device="cpu")
    sources = torch.stack([rows[leg], rows[leg + 1]], dim=1)
    weights = torch.stack([1 - t, t], dim=1)
    weights[keys] = 0
    return sources, weights


def _coefficients(values: Any) -> Tensor:
    """(m,) float64 on the CPU."""
    t = floats(values, "coefficients")
    if t.ndim != 1 or t.numel() < 2:
        raise ValueError(f"coefficients must be (m,) with m >= 2, got shape {tuple(t.shape)}")
    if not t.isfinite().all():
        raise ValueError(f"coefficients must be finite, got {t.tolist()}")
    return t


def _check_unit_interval(t: Tensor, name: str) -> None:
    if ((t < 0) | (t > 1)).any():
        raise ValueError(f"{name} must lie in [0, 1], got {t.tolist()}")


def _chain_positions(t: Tensor, frames_per_key: int | Sequence[int]) -> Tensor:
    """Positions along the chain from coefficients within each leg."""
    _check_unit_interval(t, "coefficients within a leg")
    legs = t.numel() - 1
    if not isinstance(frames_per_key, Iterable):
        frames_per_key = integer(frames_per_key, "frames_per_key")
        if frames_per_key < 1 or legs % frames_per_key:
            raise ValueError(f"{legs} rows before the last keyframe do not divide into legs of {frames_per_key}")
        counts = [frames_per_key] * (legs // frames_per_key)
    else:
        counts = integers(frames_per_key, "frames_per_key")
        if any(count < 1 for count in counts) or sum(counts) != legs:
            raise ValueError(
                f"frames_per_key {counts} must be positive and add up to {legs}, the rows before the last keyframe"
            )
    starts = torch.tensor([sum(counts[:leg]) for leg in range(len(counts))], device="cpu")
    if (t[starts] != 0).any() or t[-1] != 1 or (t[:-1] == 1).any():
        raise ValueError(f"a leg must start at coefficient 0, and the last row alone must be 1; got {t.tolist()}")
    leg = torch.arange(len(counts), device="cpu").repeat_interleave(torch.tensor(counts, device="cpu"))
    return torch.cat([leg + t[:-1], t.new_tensor([len(counts)])])

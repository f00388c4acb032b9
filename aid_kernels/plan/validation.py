"""Checks of a plan's sources and weights."""

from __future__ import annotations

import torch
from torch import Tensor

SUM_TOLERANCE = 1e-4


def validated(sources: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """int32 and float32 copies on the CPU of a valid pair.

    Raises:
        TypeError, ValueError: as `InterpolationPlan` says.
    """
    if sources.dtype.is_floating_point:
        raise TypeError(f"sources must be integers, got {sources.dtype}")
    if not weights.dtype.is_floating_point:
        raise TypeError(f"weights must be floating point, got {weights.dtype}")
    if sources.ndim != 2 or sources.shape != weights.shape:
        raise ValueError(
            f"sources and weights must both be (rows, sources per row), got {tuple(sources.shape)} "
            f"and {tuple(weights.shape)}"
        )
    if sources.device != weights.device:
        raise ValueError(f"sources are on {sources.device} but weights on {weights.device}; put both on one device")
    host_sources = sources.detach().to("cpu", torch.int64)
    exact = weights.detach().to("cpu", torch.float64)
    for row, (indices, shares) in enumerate(zip(host_sources.tolist(), exact.tolist(), strict=True)):
        _check_row(row, indices, shares)
    # clone: the plan must not change when its caller's tensors do
    return host_sources.to(torch.int32).clone(), exact.to(torch.float32).clone()


def _check_row(row: int, sources: list[int], weights: list[float]) -> None:
    if any(weight != weight for weight in weights):
        raise ValueError(f"weights of row {row} hold NaN: {weights}")
    if any(not 0 <= weight <= 1 for weight in weights):
        raise ValueError(f"weights of row {row} must lie in [0, 1], got {weights}")
    if any(weights) and abs(sum(weights) - 1) > SUM_TOLERANCE:
        raise ValueError(
            f"weights of row {row} sum to {sum(weights):g}; they must sum to 1, or all be 0 for a plain row"
        )
    if any(not 0 <= source < 2**31 for source in sources):
        raise ValueError(f"sources of row {row} must be bank indices >= 0, got {sources}")

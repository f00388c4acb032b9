"""The oracle: equations (1)-(4) of the README written out row by row, materialised, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from ...plan import InterpolationPlan
from ..layout import empty_output


def refusals(mode: str, query: Tensor, key: Tensor, plan: InterpolationPlan, bank: tuple[Tensor, Tensor]) -> list[str]:
    """Reasons why this implementation cannot serve the inputs: none, it takes everything the op takes."""
    return []


def outer_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: InterpolationPlan,
    *,
    fuse_self: bool,
    bank: tuple[Tensor, Tensor],
    key_mask: Tensor | None,
    bank_mask: Tensor | None,
    scale: float,
) -> Tensor:
    """Equations (1) and (2). Same signature, shapes and rules as the public op; math in float64 (float32 on MPS)."""
    query64, (key64, value64), bank64 = _widen(query), _widen_pair(key, value), _widen_pair(*bank)
    own_mask, source_mask = _visible(key, key_mask), _visible(bank[0], bank_mask)
    out = empty_output(query64)
    for row, terms in enumerate(_terms(plan)):
        own = key64[row], value64[row], own_mask[row]
        if not terms:
            out[row] = _attend(query64[row], [own], scale)
            continue
        out[row] = 0
        for source, weight in terms:
            segment = bank64[0][source], bank64[1][source], source_mask[source]
            out[row] += weight * _attend(query64[row], [segment, own] if fuse_self else [segment], scale)
    return out.to(query.dtype)


def inner_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: InterpolationPlan,
    *,
    fuse_self: bool,
    bank: tuple[Tensor, Tensor],
    key_mask: Tensor | None,
    bank_mask: Tensor | None,
    scale: float,
) -> Tensor:
    """Equations (3) and (4). An interpolated key is visible if it is at any source of non-zero weight."""
    query64, (key64, value64), bank64 = _widen(query), _widen_pair(key, value), _widen_pair(*bank)
    own_mask, source_mask = _visible(key, key_mask), _visible(bank[0], bank_mask)
    out = empty_output(query64)
    for row, terms in enumerate(_terms(plan)):
        own = key64[row], value64[row], own_mask[row]
        if not terms:
            out[row] = _attend(query64[row], [own], scale)
            continue
        mixed = tuple(torch.stack([weight * part[source] for source, weight in terms]).sum(dim=0) for part in bank64)
        seen = torch.stack([source_mask[source] for source, _ in terms]).any(dim=0)
        segment = mixed[0], mixed[1], seen
        out[row] = _attend(query64[row], [segment, own] if fuse_self else [segment], scale)
    return out.to(query.dtype)


def _attend(query: Tensor, segments: list[tuple[Tensor, Tensor, Tensor]], scale: float) -> Tensor:
    """softmax(scale Q K^T) V over concatenated segments; a query with nothing to attend to gives zeros.

    query (H, Sq, D); each segment key (H, S, D), value (H, S, D), mask (S,).
    """
    key, value, mask = (torch.cat(parts, dim=-2 if parts[0].ndim > 1 else 0) for parts in zip(*segments, strict=True))
    if not mask.any():
        return torch.zeros_like(query)
    logits = scale * (query @ key.transpose(-2, -1))
    return torch.softmax(logits.masked_fill(~mask, float("-inf")), dim=-1) @ value


def _terms(plan: InterpolationPlan) -> list[list[tuple[int, float]]]:
    """For every row its (source, weight) pairs of non-zero weight; empty for a plain row."""
    return [
        [(source, weight) for source, weight in zip(sources, weights, strict=True) if weight]
        for sources, weights in zip(plan.host_sources.tolist(), plan.host_weights.tolist(), strict=True)
    ]


def _visible(key: Tensor, mask: Tensor | None) -> Tensor:
    return torch.ones(key.shape[0], key.shape[2], dtype=torch.bool, device=key.device) if mask is None else mask


def _widen(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)


def _widen_pair(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    return _widen(key), _widen(value)

"""Masks with a query axis: boolean or added to the logits, and as one bias for several segments or sources."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def differs_by_query(mask: Tensor | None) -> bool:
    """Whether a mask is (B, 1 or H, 1 or Sq, S), bool or additive, and not (B, S)."""
    return mask is not None and mask.ndim == 4


def visible(mask: Tensor) -> Tensor:
    """Where keys may be attended to: a bool mask itself, of an additive one whatever is not -inf."""
    return mask if mask.dtype == torch.bool else ~mask.isneginf()


def as_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the logits, of the mask's shape: 0 and -inf of a bool mask, an additive one as it is."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


def heads_of(mask: Tensor, heads: slice) -> Tensor:
    """Some heads of a mask with a query axis, a view; one that all heads share stays as it is."""
    return mask[:, heads] if mask.shape[1] > 1 else mask


def mixed_bias(parts: Iterable[tuple[Tensor, Tensor | float]]) -> Tensor:
    """Bias of a mixed key, equation (16): the mean, by weight, of the sources that show it; -inf where none does.

    Args:
        parts: of each source of non-zero weight its bias and its weight, shapes that broadcast.
    """
    total: Tensor | None = None
    share: Tensor | None = None
    for bias, weight in parts:
        shown = ~bias.isneginf()
        part, counted = bias.masked_fill(~shown, 0) * weight, shown.to(bias.dtype) * weight
        total = part if total is None else total + part
        share = counted if share is None else share + counted
    assert total is not None
    assert share is not None
    return (total / share).masked_fill(share == 0, -torch.inf)


def joined_bias(parts: Iterable[Tensor]) -> Tensor:
    """Biases (..., 1 or H, 1 or Sq, S) of several segments as one, over all their keys."""
    given = list(parts)
    shape = torch.broadcast_shapes(*(part.shape[:-1] for part in given))
    return torch.cat([part.expand(*shape, part.shape[-1]) for part in given], dim=-1)

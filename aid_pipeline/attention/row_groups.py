"""Layers whose batch is k times the call's rows: a video's frames or pixels, tokens, windows, as further heads.

Every such layer reshapes (rows, k, ...) to (rows k, ...), so the k groups of a row stand together. Each is interpolated
between the same group of the endpoints. As heads of its row a group needs no plan of its own.
"""

from __future__ import annotations

from torch import Tensor


def groups_of(batch: int, rows: int) -> int | None:
    """k of a layer's batch in a call of `rows` rows; None where it is no multiple, but has rows of its own."""
    return batch // rows if batch and batch % rows == 0 else None


def fold(part: Tensor, groups: int) -> Tensor:
    """(rows k, H, S, D) -> (rows, k H, S, D)."""
    return part.unflatten(0, (-1, groups)).flatten(1, 2)


def unfold(part: Tensor, groups: int) -> Tensor:
    """(rows, k H, S, D) -> (rows k, H, S, D)."""
    return part.unflatten(1, (groups, -1)).flatten(0, 1)


def fold_mask(mask: Tensor | None, groups: int, heads: int) -> Tensor | None:
    """A mask (`masks.operator_mask`) of a layer's rows as one of the call's, (rows, k H, 1 or Sq, Sk)."""
    if mask is None:
        return None
    if mask.ndim == 2:
        mask = mask[:, None, None]
    return fold(mask.expand(-1, heads, -1, -1), groups)

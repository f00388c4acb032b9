"""Layers, and embeddings, of k times the call's rows: a clip's images or pixels, tokens, windows.

Every such layer reshapes (rows, k, ...) to (rows k, ...), so the k groups of a row stand together. Each is interpolated
between the same group of the endpoints. As heads of its row a group needs no plan of its own.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

REPEATED_ARGUMENTS = ("encoder_hidden_states",)
"""Arguments that may have k rows for each of the call's: a clip's prompt once for each of its images."""


def repeats_of(name: str, value: Tensor, batch: int) -> int:
    """How many rows an argument has for each of a call's `batch` rows, if it is one that may be repeated; else 1."""
    fits = name in REPEATED_ARGUMENTS and value.ndim > 0 and value.shape[0] % batch == 0
    return max(1, value.shape[0] // batch) if fits else 1


def one_of_each(embeds: Any, batch: int) -> Any:
    """One row for each of a call's `batch` rows, of embeddings repeated k times for each; others as they are."""
    if not isinstance(embeds, Tensor) or embeds.shape[0] <= batch or embeds.shape[0] % batch:
        return embeds
    return embeds[:: embeds.shape[0] // batch]


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

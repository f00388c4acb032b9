"""Attention masks of diffusers as masks of keys, and the check that they are nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import UnsupportedAttentionError

HIDDEN_BIAS = -9000.0
"""Additive masks say 0 (visible) or this and less (hidden: diffusers writes -10000, whose softmax is exactly 0)."""

REMEMBERED_MASKS = 4


class MaskChecker:
    """Checks the values of every attention mask that denoiser calls are given, each tensor once."""

    def __init__(self) -> None:
        self._checked: list[Tensor] = []

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Check the masks among a call's arguments, and among dictionaries in these; raises as `check_mask_values`."""
        nested = [value for value in arguments.values() if isinstance(value, dict)]
        for name, mask in [item for level in [arguments, *nested] for item in level.items()]:
            if not isinstance(mask, Tensor) or not str(name).endswith("attention_mask"):
                continue
            if not any(mask is checked for checked in self._checked):
                check_mask_values(str(name), mask)
                self._checked = [*self._checked[1 - REMEMBERED_MASKS :], mask]


def key_mask_of(attn_mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor | None:
    """(B, Sk) bool, True = visible, of a stock attention mask that hides keys alike for all heads and queries.

    Args:
        attn_mask: (B or 1, any, 1, Sk) bool or additive, or one expanded over the queries; the heads' masks are copies
            in every stock processor. Values are checked where the denoiser is called (`check_mask_values`), not in
            every layer.
        query, key: (B, H, S, D).

    Raises:
        UnsupportedAttentionError: any other shape.
    """
    if attn_mask is None:
        return None
    batch, keys = query.shape[0], key.shape[2]
    if (
        attn_mask.ndim != 4
        or (attn_mask.shape[2] != 1 and attn_mask.stride(2) != 0)
        or attn_mask.shape[3] != keys
        or attn_mask.shape[0] not in (1, batch)
    ):
        raise UnsupportedAttentionError(
            f"an attention mask of shape {tuple(attn_mask.shape)} for {batch} rows and {keys} keys is not a mask of "
            "keys alone, (rows, heads, 1, keys); attention that differs by query position cannot be interpolated"
        )
    mask = attn_mask[:, 0, 0]
    visible = mask if mask.dtype == torch.bool else mask == 0
    return visible.expand(batch, keys)


def check_mask_values(name: str, mask: Tensor) -> None:
    """Raise UnsupportedAttentionError unless a mask argument of a denoiser call hides or shows keys and nothing else.

    Args:
        name: what the denoiser calls it.
        mask: (B, Sk) of 0/1 or bool, or (B, 1, Sk) bool or additive. Reads the values: a GPU is waited for.
    """
    if mask.dtype == torch.bool:
        visible = mask
    elif mask.ndim == 2:
        visible = mask != 0
        _refuse_unless(name, mask, (mask == 0) | (mask == 1), "0 (hidden) or 1 (visible)")
    else:
        visible = mask == 0
        _refuse_unless(name, mask, visible | (mask <= HIDDEN_BIAS), f"0 (visible) or at most {HIDDEN_BIAS:g} (hidden)")
    blind = ~visible.any(dim=-1)
    if blind.any():
        row = int(blind.nonzero()[0, 0])
        raise UnsupportedAttentionError(f"{name} hides every key of row {row}; leave at least one visible")


def _refuse_unless(name: str, mask: Tensor, fine: Tensor, wanted: str) -> None:
    if not fine.all():
        value = mask[~fine][0].item()
        raise UnsupportedAttentionError(
            f"{name} holds {value:g}; a mask of keys has {wanted}, and a bias cannot be interpolated"
        )

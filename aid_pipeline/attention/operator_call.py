"""The one place where an attention call of diffusers becomes a call of the operator."""

from __future__ import annotations

import torch
from torch import Tensor

from aid_kernels import InterpolationPlan, inner_attention, outer_attention

from ..errors import UnsupportedAttentionError

HIDDEN_BIAS = -9000.0
"""Additive masks say 0 (visible) or this and less (hidden: diffusers writes -10000, whose softmax is exactly 0)."""


def interpolated_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: InterpolationPlan,
    *,
    mode: str,
    fuse_self: bool,
    impl: str = "auto",
    bank: tuple[Tensor, Tensor] | None = None,
    key_mask: Tensor | None = None,
    bank_mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attention of a batch whose rows follow `plan` (paper, section 4); (B, H, S, D) in and out, as the operator's.

    Raises:
        TypeError, ValueError: as `aid_kernels.outer_attention`.
    """
    attention = outer_attention if mode == "outer" else inner_attention
    return attention(
        query,
        key,
        value,
        plan,
        fuse_self,
        bank=bank,
        key_mask=key_mask,
        bank_mask=bank_mask,
        scale=scale,
        impl=impl,
    )


def under_autocast(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three in autocast's dtype where it is on: it casts for the stock call, but not for custom ops."""
    device = query.device.type
    if not torch.is_autocast_enabled(device):
        return query, key, value
    dtype = torch.get_autocast_dtype(device)
    return query.to(dtype), key.to(dtype), value.to(dtype)


def key_mask_of(attn_mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor | None:
    """(B, Sk) bool, True = visible, of a stock attention mask that hides keys alike for all heads and queries.

    Args:
        attn_mask: (B or 1, any, 1, Sk) bool or additive; the heads' masks are copies in every stock processor. Values
            are checked where the denoiser is called (`check_mask_values`), not in every layer.
        query, key: (B, H, S, D).

    Raises:
        UnsupportedAttentionError: any other shape.
    """
    if attn_mask is None:
        return None
    batch, keys = query.shape[0], key.shape[2]
    if (
        attn_mask.ndim != 4
        or attn_mask.shape[2] != 1
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

"""Attention masks of diffusers as the operator takes them: of keys alone, or with a query axis, bool or additive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import UnsupportedAttentionError

HIDDEN_BIAS = -9000.0
"""Additive masks say 0 (visible) or this and less (hidden: diffusers writes -10000, whose softmax is exactly 0)."""

REMEMBERED_MASKS = 4

CHECKED_ARGUMENTS = ("attention_mask",)
"""Ends of the names of a denoiser's arguments that are masks."""


class MaskChecker:
    """Checks the values of every attention mask that denoiser calls are given, each tensor once."""

    def __init__(self) -> None:
        self._checked: list[tuple[Tensor, slice, bool]] = []

    def check(self, arguments: Mapping[str, Any], frames: slice = slice(None)) -> bool:
        """Check the masks among a call's arguments, and among dictionaries in these; raises as `check_mask_values`.

        Args:
            arguments: of the call, by name.
            frames: the frames' rows.

        Returns:
            Whether additive masks of keys inside the denoiser may hold more than 0 and "hidden", so that layers must
            pass them on as they are: one of the call's does, or the call has none from which they come.
        """
        nested = [value for value in arguments.values() if isinstance(value, dict)]
        found = []
        for name, mask in [item for level in [arguments, *nested] for item in level.items()]:
            if isinstance(mask, Tensor) and str(name).endswith(CHECKED_ARGUMENTS):
                found.append(self._check(str(name), mask, frames))
        return any(found) or not found

    def _check(self, name: str, mask: Tensor, frames: slice) -> bool:
        for checked, rows, biased in self._checked:
            if checked is mask and rows == frames:
                return biased
        biased = check_mask_values(name, mask, frames)
        self._checked = [*self._checked[1 - REMEMBERED_MASKS :], (mask, frames, biased)]
        return biased


def operator_mask(
    attn_mask: Any, query: Tensor, key: Tensor, *, biased: bool = False, layer: str = ""
) -> Tensor | None:
    """A stock attention mask as the operator's `key_mask`: (B, Sk) bool, or (B, 1 or H, 1 or Sq, Sk) bool or additive.

    Args:
        attn_mask: what broadcasts to (B, H, Sq, Sk), bool or additive. One that is (B or 1, any, 1, Sk), or expanded
            over the queries, is a mask of keys; the heads' are copies in every stock processor.
        query, key: (B, H, S, D).
        biased: an additive mask of keys may hold anything, and is passed on as it is; otherwise what is not 0 is
            hidden. Values are checked where the denoiser is called (`MaskChecker`), not in every layer.
        layer: named in an error.

    Raises:
        UnsupportedAttentionError: no such tensor.
    """
    if attn_mask is None:
        return None
    where = f"layer {layer}: " if layer else ""
    if not isinstance(attn_mask, Tensor):
        raise UnsupportedAttentionError(
            f"{where}an attention mask that is a {type(attn_mask).__name__} cannot be interpolated; use a mask tensor "
            "or an attention backend that takes one (denoiser.set_attention_backend)"
        )
    shape = query.shape[0], query.shape[1], query.shape[2], key.shape[2]
    of_keys = attn_mask.ndim == 4 and (attn_mask.shape[2] == 1 or attn_mask.stride(2) == 0)
    if of_keys and attn_mask.shape[3] == shape[3] and attn_mask.shape[0] in (1, shape[0]):
        if attn_mask.dtype == torch.bool or not biased:
            mask = attn_mask[:, 0, 0]
            visible = mask if mask.dtype == torch.bool else mask == 0
            return visible.expand(shape[0], shape[3])
        attn_mask = attn_mask[:, :, :1]
    axes = attn_mask.shape[-4:]
    fits = all(size in (1, wanted) for size, wanted in zip(reversed(axes), reversed(shape), strict=False))
    if attn_mask.ndim not in (2, 3, 4) or axes[-1] != shape[3] or not fits:
        raise UnsupportedAttentionError(
            f"{where}an attention mask of shape {tuple(attn_mask.shape)} does not fit {shape}, (rows, heads, queries, "
            "keys), so it cannot be interpolated; remove AID for this model"
        )
    return _with_query_axis(attn_mask[(None,) * (4 - attn_mask.ndim)], query)


def check_mask_values(name: str, mask: Tensor, frames: slice = slice(None)) -> bool:
    """Check a mask argument of a denoiser call; reads the values, so that a GPU is waited for.

    Args:
        name: what the denoiser calls it.
        mask: (B, Sk) of 0/1 or bool; or (B, 1, Sk) or (B, any, Sq, Sk), bool or additive.
        frames: rows that may not be wholly hidden. Others may: an additive mask that hides all keys alike is none.

    Returns:
        Whether layers that get it as an additive mask must pass it on as it is: it is a bias, or hides a whole row.

    Raises:
        UnsupportedAttentionError: other values in two dimensions, or a frame with nothing visible.
    """
    bias = False
    if mask.dtype == torch.bool:
        visible = mask
    elif mask.ndim == 2:
        visible = mask != 0
        fine = (mask == 0) | (mask == 1)
        if not fine.all():
            raise UnsupportedAttentionError(
                f"{name} holds {mask[~fine][0].item():g}; a mask of two dimensions has 0 (hidden) or 1 (visible), and "
                f"a bias is additive: (rows, 1, keys), 0 where visible and at most {HIDDEN_BIAS:g} where hidden"
            )
    else:
        visible = mask > HIDDEN_BIAS
        bias = bool((visible & (mask != 0)).any())
    blind = ~visible.any(dim=-1)
    if mask.ndim < 4 and blind[frames].any():
        row = int(blind[frames].nonzero()[0, 0]) + (frames.start or 0)
        raise UnsupportedAttentionError(f"{name} hides every key of row {row}; leave at least one visible")
    return bias or bool(blind.any())


def _with_query_axis(mask: Tensor, query: Tensor) -> Tensor:
    """(B, 1 or H, 1 or Sq, Sk), without axes that are expanded; what an additive mask hides is -inf.

    A query that an additive mask hides from every key keeps its values: stock attention is then to all keys alike.
    """
    for axis in (1, 2):
        if mask.shape[axis] > 1 and mask.stride(axis) == 0:
            mask = mask.narrow(axis, 0, 1)
    if mask.dtype != torch.bool:
        hidden = mask <= HIDDEN_BIAS
        sees = ~hidden.all(dim=-1, keepdim=True)
        mask = mask.masked_fill(hidden & sees, -torch.inf).to(query.dtype)
    return mask.expand(query.shape[0], *mask.shape[1:])

"""The one place where an attention call of diffusers becomes a call of the operator."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from aid_kernels import HEAD_DIM_STEP, Explanation, InterpolationPlan, explain, inner_attention, outer_attention

from ..config import AIDConfig

ATTENTION = {"outer": outer_attention, "inner": inner_attention}


class OperatorCall(NamedTuple):
    """Attention of a batch whose rows follow `plan` (arXiv 2403.17924, section 4), as one set of arguments.

    Args:
        query, key, value: (B, H, S, D). A head size that the operator does not take is padded with zeros, and the
            scale stays that of the true one.
        plan: sources and weights of the rows.
        config: mode, fuse_self and impl.
        bank: keys and values (E, H, Sk, D) of the plan's sources; None means that they are rows of this batch.
        key_mask: as `masks.operator_mask` makes it; None means that all is visible.
        bank_mask: likewise of the sources.
        scale: of the logits; None means D ** -0.5.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    plan: InterpolationPlan
    config: AIDConfig
    bank: tuple[Tensor, Tensor] | None = None
    key_mask: Tensor | None = None
    bank_mask: Tensor | None = None
    scale: float | None = None

    def attend(self) -> Tensor:
        """(B, H, S, D).

        Raises:
            TypeError, ValueError: as `aid_kernels.outer_attention`.
        """
        positional, options = self._arguments()
        out = ATTENTION[self.config.mode](*positional, **options)
        size = self.value.shape[3]
        return out if out.shape[3] == size else out[..., :size]

    def explain(self) -> Explanation:
        """Which implementation serves this call, and why; raises as `attend`."""
        positional, options = self._arguments()
        return explain(*positional, **options, mode=self.config.mode)

    def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        size = self.query.shape[3]
        padded = padded_head_dim(max(size, self.value.shape[3]))
        tensors = (self.query, self.key, self.value, *(self.bank or ()))
        query, key, value, *bank = (
            part if part.shape[3] == padded else F.pad(part, (0, padded - part.shape[3])) for part in tensors
        )
        scale = size**-0.5 if self.scale is None and padded != size else self.scale
        masks = {"key_mask": self.key_mask, "bank_mask": self.bank_mask}
        options = {"bank": tuple(bank) or None, **masks, "scale": scale, "impl": self.config.impl}
        return (query, key, value, self.plan, self.config.fuse_self), options


def padded_head_dim(size: int) -> int:
    """The least head size that the operator takes, and heads of `size` channels fit into."""
    return -(-size // HEAD_DIM_STEP) * HEAD_DIM_STEP


def under_autocast(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three in autocast's dtype where it is on: it casts for the stock call, but not for custom ops."""
    device = query.device.type
    if not torch.is_autocast_enabled(device):
        return query, key, value
    dtype = torch.get_autocast_dtype(device)
    return query.to(dtype), key.to(dtype), value.to(dtype)

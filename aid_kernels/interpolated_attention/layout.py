"""Where results go: every implementation allocates its output here, so that all return the same strides."""

from __future__ import annotations

import torch
from torch import Tensor


def empty_output(query: Tensor) -> Tensor:
    """(B, H, Sq, D), uninitialised, dense, heads and positions nested as in `query`.

    diffusers passes (B, S, H, D).transpose(1, 2) and folds the heads right after: in that order the fold is free.
    """
    batch, heads, length, head_dim = query.shape
    if query.stride(1) < query.stride(2):
        return torch.empty_permuted(
            (batch, heads, length, head_dim), (0, 2, 1, 3), dtype=query.dtype, device=query.device
        )
    return torch.empty((batch, heads, length, head_dim), dtype=query.dtype, device=query.device)

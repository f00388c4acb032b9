"""Interpolated attention primitives: stand-ins for the two functions in which every stock processor ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import Tensor

from ..errors import UnsupportedAttentionError
from .state import DenoiserState

PRIMITIVES = ("scaled_dot_product_attention", "dispatch_attention_fn")


def interpolated_primitives(state: DenoiserState, linear_cross: bool) -> dict[str, Callable[..., Tensor]]:
    """Both primitives by name, with the stock signatures; attention as `state` says.

    Args:
        state: of the denoiser.
        linear_cross: for text cross-attention whose keys and values are linear in the embeddings.
    """
    return {
        "scaled_dot_product_attention": _scaled_dot_product_attention(state, linear_cross),
        "dispatch_attention_fn": _dispatch_attention_fn(state),
    }


def _scaled_dot_product_attention(state: DenoiserState, linear_cross: bool) -> Callable[..., Tensor]:
    def scaled_dot_product_attention(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        context = state.current
        if context is not None and not (linear_cross and context.skips_linear_cross and attn_mask is None):
            _refuse(state, dropout_p=dropout_p, is_causal=is_causal, enable_gqa=enable_gqa)
            out = state.attend(query, key, value, attn_mask, scale)
            if out is not None:
                return out
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )

    return scaled_dot_product_attention


def _dispatch_attention_fn(state: DenoiserState) -> Callable[..., Tensor]:
    def dispatch(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
        attention_kwargs: dict[str, Any] | None = None,
        *,
        backend: Any = None,
        parallel_config: Any = None,
    ) -> Tensor:
        """Takes and returns (B, S, H, D)."""
        if state.current is not None:
            _refuse(state, dropout_p=dropout_p, is_causal=is_causal, enable_gqa=enable_gqa)
            _refuse(state, attention_kwargs=attention_kwargs, parallel_config=parallel_config)
            mask = attn_mask
            if isinstance(mask, Tensor) and tuple(mask.shape) == (query.shape[0], key.shape[1]):
                mask = mask[:, None, None]  # as diffusers' native backend reads it
            out = state.attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), mask, scale)
            if out is not None:
                return out.transpose(1, 2)
        return dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask,
            dropout_p,
            is_causal,
            scale,
            enable_gqa,
            attention_kwargs,
            backend=backend,
            parallel_config=parallel_config,
        )

    return dispatch


def _refuse(state: DenoiserState, **arguments: Any) -> None:
    """Raise UnsupportedAttentionError for a value of what interpolated attention does not do."""
    for name, value in arguments.items():
        if value:
            where = "" if state.layer is None else f"layer {state.layer.name}: "
            raise UnsupportedAttentionError(
                f"{where}interpolated attention does not take {name}={value!r}; remove AID for this model"
            )

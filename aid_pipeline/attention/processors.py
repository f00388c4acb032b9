"""Attention processor of a UNet with interpolated attention, for reading and for setting by hand.

`apply_aid` does not use it (see `rebinding.py`); it calls the same operator.
"""

from __future__ import annotations

import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor

from aid_kernels import InterpolationPlan

from ..config import AIDConfig
from .masks import operator_mask
from .operator_call import OperatorCall, under_autocast


class InterpolatedAttnProcessor:
    """Attention processor of a UNet whose batch holds all frames of a sequence.

        plan = InterpolationPlan.concat([InterpolationPlan.plain(7), InterpolationPlan.sequence(t)])   # [uncond, cond]
        unet.set_attn_processor(InterpolatedAttnProcessor(plan, AIDConfig(mode="outer")))

    Does what `AttnProcessor2_0` does, with the operator in place of stock attention: in every self-attention layer
    queries, keys and values come from the image, in every cross-attention layer keys and values from the text.

    Args:
        plan: sources and weights of every row of the batch the UNet is called with. Assign `processor.plan = None` for
            plain attention, for instance after the warm-up or for a call of another batch size.
        config: mode, fuse_self and impl; counting steps, and so `warmup`, is the caller's.
    """

    def __init__(self, plan: InterpolationPlan | None, config: AIDConfig) -> None:
        self.plan = plan
        self.config = config

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """As diffusers calls it: (B, S, C) or (B, C, height, width) in and out."""
        residual = hidden_states
        if attn.spatial_norm is not None:
            hidden_states = attn.spatial_norm(hidden_states, temb)
        image_shape = hidden_states.shape if hidden_states.ndim == 4 else None
        if image_shape is not None:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)

        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)
        query, key, value = (
            states.unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # (B, H, S, D), without a copy
            for states in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        if attn.norm_k is not None:
            key = attn.norm_k(key)
        if attention_mask is not None:
            attention_mask = attn.prepare_attention_mask(attention_mask, key.shape[2], key.shape[0])
            attention_mask = attention_mask.unflatten(0, (-1, attn.heads))  # (B, H, 1, Sk)

        if self.config.mode not in ("outer", "inner") or self.plan is None:
            out = F.scaled_dot_product_attention(query, key, value, attention_mask)
        else:
            query, key, value = under_autocast(query, key, value)
            visible = operator_mask(attention_mask, query, key)
            call = OperatorCall(query, key, value, self.plan, self.config, key_mask=visible, bank_mask=visible)
            out = call.attend()

        hidden_states = out.transpose(1, 2).flatten(2)
        for layer in attn.to_out:  # projection, dropout
            hidden_states = layer(hidden_states)
        if image_shape is not None:
            hidden_states = hidden_states.transpose(1, 2).reshape(image_shape)
        if attn.residual_connection:
            hidden_states = hidden_states + residual
        return hidden_states / attn.rescale_output_factor

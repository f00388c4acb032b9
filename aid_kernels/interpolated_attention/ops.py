"""The two ops as torch sees them: schemas, fake kernels and gradients, so that compiled graphs stay whole.

Annotations stay real types here: torch reads the schema from them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..plan import InterpolationPlan
from . import dispatch
from .gradients import attention_gradients
from .layout import empty_output


def _define(mode: str) -> Callable[..., Tensor]:
    """Register `aid_kernels::{mode}_attention` and its backward pass; returns the op."""

    @torch.library.custom_op(f"aid_kernels::{mode}_attention", mutates_args=())
    def forward(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        sources: Tensor,
        weights: Tensor,
        schedule: Tensor,
        host_sources: Tensor,
        host_weights: Tensor,
        bank_size: int,
        bank_key: Tensor | None,
        bank_value: Tensor | None,
        key_mask: Tensor | None,
        bank_mask: Tensor | None,
        fuse_self: bool,
        scale: float,
        impl: str,
        needs_grad: bool,
    ) -> Tensor:
        plan = InterpolationPlan.trusted(sources, weights, schedule, host_sources, host_weights, bank_size)
        bank = _bank(key, value, bank_key, bank_value)
        masked = key_mask is not None or bank_mask is not None
        name, reason = dispatch.choose(mode, impl, query, key, plan, bank, masked, needs_grad)
        dispatch.announce(mode, query, name, reason)
        attention = getattr(dispatch.load(name), f"{mode}_attention")
        return attention(
            query,
            key,
            value,
            plan,
            fuse_self=fuse_self,
            bank=bank,
            key_mask=key_mask,
            bank_mask=bank_mask,
            scale=scale,
        )

    @forward.register_fake
    def _(query: Tensor, *rest: Any) -> Tensor:
        return empty_output(query)

    @torch.library.custom_op(f"aid_kernels::{mode}_attention_backward", mutates_args=())
    def backward(
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        host_sources: Tensor,
        host_weights: Tensor,
        bank_key: Tensor | None,
        bank_value: Tensor | None,
        key_mask: Tensor | None,
        bank_mask: Tensor | None,
        fuse_self: bool,
        scale: float,
    ) -> list[Tensor]:
        # the gradients read the host copies only
        plan = InterpolationPlan.trusted(host_sources, host_weights, host_sources, host_sources, host_weights, 0)
        grads = attention_gradients(
            mode,
            grad,
            query,
            key,
            value,
            plan,
            fuse_self=fuse_self,
            bank=_bank(key, value, bank_key, bank_value),
            key_mask=key_mask,
            bank_mask=bank_mask,
            scale=scale,
        )
        if bank_key is not None:
            return list(grads)
        # the batch is its own bank: both roles of its keys and values add up
        return [grads[0], grads[1] + grads[3], grads[2] + grads[4]]

    @backward.register_fake
    def _(
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        host_sources: Tensor,
        host_weights: Tensor,
        bank_key: Tensor | None,
        bank_value: Tensor | None,
        *rest: Any,
    ) -> list[Tensor]:
        inputs = (
            [query, key, value] if bank_key is None or bank_value is None else [query, key, value, bank_key, bank_value]
        )
        return [torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device) for tensor in inputs]

    def save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        query, key, value, _, _, _, host_sources, host_weights, _, *bank_and_masks, fuse_self, scale, _, _ = inputs
        ctx.save_for_backward(query, key, value, host_sources, host_weights, *bank_and_masks)
        ctx.fuse_self, ctx.scale = fuse_self, scale

    def differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        grads = backward(grad, *ctx.saved_tensors, ctx.fuse_self, ctx.scale)
        bank_grads = grads[3:] if len(grads) == 5 else (None, None)
        return (*grads[:3], *[None] * 6, *bank_grads, *[None] * 6)

    forward.register_autograd(differentiate, setup_context=save)
    return forward


def _bank(key: Tensor, value: Tensor, bank_key: Tensor | None, bank_value: Tensor | None) -> tuple[Tensor, Tensor]:
    return (key, value) if bank_key is None or bank_value is None else (bank_key, bank_value)


OPS = {mode: _define(mode) for mode in ("outer", "inner")}

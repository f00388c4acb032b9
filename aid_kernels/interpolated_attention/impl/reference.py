"""Reference implementation: equations (1)-(4) of the README row by row, with a materialized softmax, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from ...plan import Term
from ..biases import as_bias, joined_bias, mixed_bias
from ..hidden import mixable, without_hidden
from ..inputs import AttentionInputs
from ..layout import empty_output


def outer_attention(inputs: AttentionInputs) -> Tensor:
    """Equations (1) and (2). Shapes and rules of the public op; math in float64 (float32 on MPS)."""
    query, key, value, bank_key, bank_value = map(_widen, inputs[:5])
    own_mask, source_mask = _visible(key, inputs.key_mask), _visible(bank_key, inputs.bank_mask)
    out = empty_output(inputs.query)
    for row, terms in enumerate(inputs.plan.host_terms()):
        own = key[row], value[row], own_mask[row]
        if not terms:
            out[row] = _attend(query[row], [own], inputs.scale)
            continue
        total = torch.zeros(query.shape[1:], dtype=query.dtype, device=query.device)
        for _, source, weight in terms:
            segment = bank_key[source], bank_value[source], source_mask[source]
            segments = [segment, own] if inputs.fuse_self else [segment]
            total += weight * _attend(query[row], segments, inputs.scale)
        out[row] = total
    return out


def inner_attention(inputs: AttentionInputs) -> Tensor:
    """Equations (3) and (4). An interpolated key is visible if it is at any source of non-zero weight."""
    query, key, value, bank_key, bank_value = map(_widen, inputs[:5])
    own_mask, source_mask = _visible(key, inputs.key_mask), _visible(bank_key, inputs.bank_mask)
    out = empty_output(inputs.query)
    for row, terms in enumerate(inputs.plan.host_terms()):
        own = key[row], value[row], own_mask[row]
        if not terms:
            out[row] = _attend(query[row], [own], inputs.scale)
            continue
        mixed_key, mixed_value = (
            torch.stack([weight * mixable(part[source], source_mask[source]) for _, source, weight in terms]).sum(dim=0)
            for part in (bank_key, bank_value)
        )
        segment = mixed_key, mixed_value, _mixed_mask(source_mask, terms, query.dtype)
        segments = [segment, own] if inputs.fuse_self else [segment]
        out[row] = _attend(query[row], segments, inputs.scale)
    return out


def _attend(query: Tensor, segments: list[tuple[Tensor, Tensor, Tensor]], scale: float) -> Tensor:
    """softmax(scale Q K^T) V over concatenated segments; a query with nothing to attend to gives zeros.

    query (H, Sq, D); each segment key (H, S, D), value (H, S, D), mask (S,) or (1 or H, 1 or Sq, S).
    """
    if any(mask.ndim > 1 for _, _, mask in segments):
        return _attend_by_query(query, segments, scale)
    key, value, mask = (torch.cat(parts, dim=-2 if parts[0].ndim > 1 else 0) for parts in zip(*segments, strict=True))
    if not mask.any():
        return torch.zeros_like(query)
    key, value = without_hidden(key, mask), without_hidden(value, mask)
    logits = scale * (query @ key.transpose(-2, -1))
    return torch.softmax(logits.masked_fill(~mask, float("-inf")), dim=-1) @ value


def _attend_by_query(query: Tensor, segments: list[tuple[Tensor, Tensor, Tensor]], scale: float) -> Tensor:
    """The same where a mask has a query axis: what one query may not attend to another may."""
    key, value = (
        torch.cat([without_hidden(segment[part], segment[2]) for segment in segments], dim=1) for part in (0, 1)
    )
    masks = [mask if mask.ndim > 1 else mask[None, None] for _, _, mask in segments]
    bias = joined_bias(as_bias(mask, query.dtype) for mask in masks)
    hidden = bias.isneginf()
    blind = hidden.all(dim=-1, keepdim=True)
    logits = (scale * (query @ key.transpose(-2, -1)) + bias).masked_fill(hidden, float("-inf"))
    return (torch.softmax(logits.masked_fill(blind, 0), dim=-1) @ value).masked_fill(blind, 0)


def _mixed_mask(source_mask: Tensor, terms: list[Term], dtype: torch.dtype) -> Tensor:
    """Which mixed keys are visible, equation (16): a bias where the sources' masks have a query axis."""
    if source_mask.ndim == 2:
        return torch.stack([source_mask[source] for _, source, _ in terms]).any(dim=0)
    return mixed_bias((as_bias(source_mask[source], dtype), weight) for _, source, weight in terms)


def _visible(key: Tensor, mask: Tensor | None) -> Tensor:
    return torch.ones(key.shape[0], key.shape[2], dtype=torch.bool, device=key.device) if mask is None else mask


def _widen(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)

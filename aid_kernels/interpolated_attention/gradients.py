"""Backward pass of both ops, equations (12)-(15) of the README, for any implementation's forward pass.

Recomputes the probabilities of one term and a few heads at a time, so memory stays bounded. By hand, because
stock attention ops do not differentiate through the log-sum-exp that merges segments.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..plan import InterpolationPlan
from .biases import as_bias, differs_by_query, heads_of, joined_bias, mixed_bias
from .hidden import mixable, without_hidden
from .inputs import AttentionInputs

MAX_LOGITS = 2**26  # elements of float32 probabilities alive at once (256 MiB)

# the (bank entry, share) pairs that are summed into a source segment; empty where there is none
Mix = list[tuple[int, float]]


def attention_gradients(mode: str, grad: Tensor, inputs: AttentionInputs) -> list[Tensor]:
    """Gradients of q, k, v (B, H, S, D) and of the bank's keys and values (E, H, Ss, D), in their dtypes.

    `grad` is (B, H, Sq, D). Math in float32, or float64 for float64 inputs. The plan's weights get no gradient.
    """
    tensors = inputs[:5]
    wide = torch.promote_types(inputs.query.dtype, torch.float32)
    sums = [torch.zeros(tensor.shape, dtype=wide, device=tensor.device) for tensor in tensors]
    heads, length = inputs.query.shape[1], inputs.query.shape[2]
    columns = inputs.key.shape[2] + inputs.bank_key.shape[2]
    step = max(1, MAX_LOGITS // max(1, length * columns))
    for row, softmaxes in enumerate(_softmaxes(mode, inputs.plan)):
        for weight, mix in softmaxes:
            for start in range(0, heads, step):
                chunk = slice(start, start + step)
                _add_term(sums, inputs, row, chunk, weight * grad[row, chunk].to(wide), mix)
    return [part.to(tensor.dtype) for part, tensor in zip(sums, tensors, strict=True)]


def _softmaxes(mode: str, plan: InterpolationPlan) -> list[list[tuple[float, Mix]]]:
    """For every row the terms of its output: weight, and what is mixed into the source segment."""
    rows: list[list[tuple[float, Mix]]] = []
    for terms in plan.host_terms():
        pairs = [(source, weight) for _, source, weight in terms]
        if not pairs:
            rows.append([(1.0, [])])
        elif mode == "outer":
            rows.append([(weight, [(source, 1.0)]) for source, weight in pairs])
        else:
            rows.append([(1.0, pairs)])
    return rows


def _add_term(sums: list[Tensor], inputs: AttentionInputs, row: int, chunk: slice, grad: Tensor, mix: Mix) -> None:
    """Add one term's gradients, (12)-(15), into `sums`; `grad` (heads of the chunk, Sq, D) has the term's weight."""
    wide, scale = grad.dtype, inputs.scale
    query = inputs.query[row, chunk].to(wide)
    keys: list[Tensor] = []
    values: list[Tensor] = []
    masks: list[Tensor] = []
    source_length = 0
    if mix:
        source_length = inputs.bank_key.shape[2]
        for parts, tensor in ((keys, inputs.bank_key), (values, inputs.bank_value)):
            shares = [
                share * mixable(tensor[entry, chunk], _row(inputs.bank_mask, entry, chunk)).to(wide)
                for entry, share in mix
            ]
            parts.append(torch.stack(shares).sum(dim=0))
        if not inputs.by_query:
            masks.append(_any_source(inputs.bank_mask, mix, source_length, query.device))
    own = inputs.fuse_self or not mix
    if own:
        keys.append(inputs.key[row, chunk].to(wide))
        values.append(inputs.value[row, chunk].to(wide))
        if not inputs.by_query:
            visible = torch.ones(inputs.key.shape[2], dtype=torch.bool, device=query.device)
            masks.append(visible if inputs.key_mask is None else inputs.key_mask[row])
    key, value = torch.cat(keys, dim=1), torch.cat(values, dim=1)
    if inputs.by_query:
        key, value, probability = _by_query(query, key, value, _bias(inputs, row, chunk, mix, own, wide), scale)
    else:
        mask = torch.cat(masks)
        key, value = without_hidden(key, mask), without_hidden(value, mask)
        # a row that sees nothing is all zeros, and so are its gradients
        sees = mask.any()
        logits = (scale * (query @ key.mT)).masked_fill(~mask, float("-inf")).masked_fill(~sees, 0)
        probability = torch.softmax(logits, dim=-1) * sees
    value_grad = probability.mT @ grad
    pull = grad @ value.mT
    logits_grad = probability * (pull - (pull * probability).sum(dim=-1, keepdim=True))
    key_grad = scale * (logits_grad.mT @ query)
    sums[0][row, chunk] += scale * (logits_grad @ key)
    for entry, share in mix:
        sums[3][entry, chunk] += share * key_grad[:, :source_length]
        sums[4][entry, chunk] += share * value_grad[:, :source_length]
    if own:
        sums[1][row, chunk] += key_grad[:, source_length:]
        sums[2][row, chunk] += value_grad[:, source_length:]


def _by_query(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and values without what no query sees, and probabilities (H, Sq, S), where a mask has a query axis."""
    hidden = bias.isneginf()
    blind = hidden.all(dim=-1, keepdim=True)
    key, value = without_hidden(key, bias), without_hidden(value, bias)
    logits = (scale * (query @ key.mT) + bias).masked_fill(hidden, float("-inf")).masked_fill(blind, 0)
    return key, value, torch.softmax(logits, dim=-1).masked_fill(blind, 0)


def _bias(inputs: AttentionInputs, row: int, chunk: slice, mix: Mix, own: bool, wide: torch.dtype) -> Tensor:
    """Bias (1 or H, 1 or Sq, S) of one term's keys: the mixed ones' by (16), then the row's own."""

    def of(mask: Tensor | None, entry: int, length: int) -> Tensor:
        part = _row(mask, entry, chunk)
        if part is None:
            return torch.zeros(1, 1, length, dtype=wide, device=inputs.query.device)
        return as_bias(part if part.ndim > 1 else part[None, None], wide)

    parts = []
    if mix:
        parts.append(mixed_bias((of(inputs.bank_mask, entry, inputs.bank_key.shape[2]), share) for entry, share in mix))
    if own:
        parts.append(of(inputs.key_mask, row, inputs.key.shape[2]))
    return joined_bias(parts)


def _row(mask: Tensor | None, row: int, chunk: slice) -> Tensor | None:
    """A row's mask, (S,) or, of some heads, (1 or H, 1 or Sq, S)."""
    if mask is None or not differs_by_query(mask):
        return None if mask is None else mask[row]
    return heads_of(mask[row : row + 1], chunk)[0]


def _any_source(mask: Tensor | None, mix: Mix, length: int, device: torch.device) -> Tensor:
    """(Ss,) visible at any mixed source."""
    if mask is None:
        return torch.ones(length, dtype=torch.bool, device=device)
    return mask[[entry for entry, _ in mix]].any(dim=0)

"""The backward pass of both ops, equations (12)-(15) of the README, for any implementation's forward pass.

Recomputes the probabilities of one term and a few heads at a time, so memory stays bounded; written out because
stock attention ops do not differentiate through the log-sum-exp that merges segments.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..plan import InterpolationPlan

MAX_LOGITS = 2**26  # elements of float32 probabilities alive at once (256 MiB)

# a term of a row's output: its weight, and the (bank entry, share) pairs mixed into its source segment
Term = tuple[float, list[tuple[int, float]]]


def attention_gradients(
    mode: str,
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: InterpolationPlan,
    *,
    fuse_self: bool,
    bank: tuple[Tensor, Tensor],
    key_mask: Tensor | None,
    bank_mask: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v (B, H, S, D) and of the bank's keys and values (E, H, Ss, D), in their dtypes.

    `grad` is (B, H, Sq, D). Math in float32, or float64 for float64 inputs. The plan's weights get no gradient.
    """
    wide = torch.promote_types(query.dtype, torch.float32)
    sums = [torch.zeros(tensor.shape, dtype=wide, device=tensor.device) for tensor in (query, key, value, *bank)]
    heads, length = query.shape[1], query.shape[2]
    columns = key.shape[2] + bank[0].shape[2]
    step = max(1, MAX_LOGITS // max(1, length * columns))
    for row, terms in enumerate(_terms(mode, plan)):
        for weight, mix in terms:
            for start in range(0, heads, step):
                chunk = slice(start, start + step)
                _add_term(
                    sums,
                    row,
                    chunk,
                    weight * grad[row, chunk].to(wide),
                    mix,
                    query[row, chunk].to(wide),
                    (key[row, chunk], value[row, chunk]) if fuse_self or not mix else None,
                    (bank[0][:, chunk], bank[1][:, chunk]),
                    None if key_mask is None else key_mask[row],
                    bank_mask,
                    scale,
                )
    inputs = (query, key, value, *bank)
    first, second, third, fourth, fifth = (part.to(tensor.dtype) for part, tensor in zip(sums, inputs, strict=True))
    return first, second, third, fourth, fifth


def _terms(mode: str, plan: InterpolationPlan) -> list[list[Term]]:
    rows: list[list[Term]] = []
    for sources, weights in zip(plan.host_sources.tolist(), plan.host_weights.tolist(), strict=True):
        pairs = [(source, weight) for source, weight in zip(sources, weights, strict=True) if weight]
        if not pairs:
            rows.append([(1.0, [])])
        elif mode == "outer":
            rows.append([(weight, [(source, 1.0)]) for source, weight in pairs])
        else:
            rows.append([(1.0, pairs)])
    return rows


def _add_term(
    sums: list[Tensor],
    row: int,
    chunk: slice,
    grad: Tensor,
    mix: list[tuple[int, float]],
    query: Tensor,
    own: tuple[Tensor, Tensor] | None,
    bank: tuple[Tensor, Tensor],
    own_mask: Tensor | None,
    bank_mask: Tensor | None,
    scale: float,
) -> None:
    """Add one term's gradients, (12)-(15), into `sums`; all tensors are (heads of the chunk, S, D)."""
    keys: list[Tensor] = []
    values: list[Tensor] = []
    masks: list[Tensor] = []
    source_length = 0
    if mix:
        source_length = bank[0].shape[2]
        for parts, tensor in zip((keys, values), bank, strict=True):
            parts.append(torch.stack([share * tensor[entry].to(query.dtype) for entry, share in mix]).sum(dim=0))
        masks.append(_any_source(bank_mask, mix, source_length, query.device))
    if own is not None:
        keys.append(own[0].to(query.dtype))
        values.append(own[1].to(query.dtype))
        own_length = own[0].shape[1]
        masks.append(torch.ones(own_length, dtype=torch.bool, device=query.device) if own_mask is None else own_mask)
    key, value, mask = torch.cat(keys, dim=1), torch.cat(values, dim=1), torch.cat(masks)
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
    if own is not None:
        sums[1][row, chunk] += key_grad[:, source_length:]
        sums[2][row, chunk] += value_grad[:, source_length:]


def _any_source(mask: Tensor | None, mix: list[tuple[int, float]], length: int, device: torch.device) -> Tensor:
    """(Ss,) visible at any mixed source."""
    if mask is None:
        return torch.ones(length, dtype=torch.bool, device=device)
    return mask[[entry for entry, _ in mix]].any(dim=0)

"""The stock recipe: what PyTorch's own attention ops can do, on any device, without concatenated or expanded keys.

One call attends all rows to their own keys. Outer: the rows that share a source are folded into one long query against
that source's keys. Inner: each row's mixed keys are made once, then attended to. Terms meet by log-sum-exp,
equations (10) and (11) of the README. Rows are picked with slices and read from the plan's host copies: no GPU is waited for.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..plan import InterpolationPlan
from .layout import empty_output
from .log_sum_exp_ops import attend

# a few heads at a time, so that partial results stay small beside the output; but enough queries to keep a device busy
PIECES = 8
MIN_QUERIES = {"cpu": 2**12}
MIN_QUERIES_ELSEWHERE = 2**18

# a term of some rows: the rows, their weights (n, 1, 1), the result (n, H, Sq, D) and its log-sum-exp (n, H, Sq)
Term = tuple[slice, Tensor | float, Tensor, Tensor]


def refusals(mode: str, query: Tensor, key: Tensor, plan: InterpolationPlan, bank: tuple[Tensor, Tensor]) -> list[str]:
    """Reasons why this implementation cannot serve the inputs: none, it takes everything the op takes."""
    return []


def outer_attention(
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
) -> Tensor:
    """Equations (1) and (2). Same signature, shapes and rules as the public op; merges in float32 (float64 for float64)."""

    def terms(heads: slice) -> Iterator[Term]:
        for source, slot, rows in shared:
            entry = slice(source, source + 1)
            folded, count = _fold(query[rows, heads])
            mask = None if bank_mask is None else bank_mask[entry]
            part, lse = attend(folded, bank[0][entry, heads], bank[1][entry, heads], mask, scale)
            yield rows, plan.weights[rows, slot, None, None].to(lse.dtype), _unfold(part, count), _unfold(lse, count)

    shared = _shared_sources(plan, slice(None))
    return _merge(query, key, value, plan, key_mask, scale, fuse_self, terms)


def inner_attention(
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
) -> Tensor:
    """Equations (3) and (4). Keys and values are mixed in float32 and rounded once; only those of interpolated rows."""

    def terms(heads: slice) -> Iterator[Term]:
        for rows, shared, mask in groups:
            mixed = [_mix(part[:, heads], plan.weights[rows], shared) for part in bank]
            yield rows, 1.0, *attend(query[rows, heads], *mixed, mask, scale)

    groups = []
    for rows in _interpolated(plan):
        shared = _shared_sources(plan, rows)
        groups.append((rows, shared, _mixed_mask(bank_mask, len(plan.host_weights[rows]), shared)))
    return _merge(query, key, value, plan, key_mask, scale, fuse_self, terms)


def _merge(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: InterpolationPlan,
    key_mask: Tensor | None,
    scale: float,
    fuse_self: bool,
    terms: Callable[[slice], Iterator[Term]],
) -> Tensor:
    """Plain attention of the plain rows, and sum_j w_j (a_j A_self + (1 - a_j) A_j) of the others, (10); A_j are `terms`."""
    out = empty_output(query)
    if not out.numel():
        return out
    wide = torch.promote_types(query.dtype, torch.float32)
    plain, interpolated = _plain(plan), _interpolated(plan)

    def attend_own(rows: slice, heads: slice) -> tuple[Tensor, Tensor]:
        mask = None if key_mask is None else key_mask[rows]
        return attend(query[rows, heads], key[rows, heads], value[rows, heads], mask, scale)

    for heads in _pieces(query):
        if not fuse_self:
            for rows in plain:
                out[rows, heads] = attend_own(rows, heads)[0]
        target = out[:, heads]
        own, own_lse = attend_own(slice(None), heads) if fuse_self else (None, None)

        total = target if out.dtype == wide else torch.empty_like(target, dtype=wide)
    return out

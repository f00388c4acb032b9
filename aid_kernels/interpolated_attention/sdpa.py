"""The stock recipe: what PyTorch's own attention ops can do, on any device, without concatenated or expanded keys.

One call attends all rows to their own keys. Outer: the rows that share a source are folded into one long query against
that source's keys. Inner: each row's mixed keys are made once, then attended to. Terms meet by log-sum-exp,
equations (10) and (11) of the README. Rows are slices, read from the plan's host copies: no GPU is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..plan import InterpolationPlan
from .layout import empty_output
from .log_sum_exp_ops import attend

# a few heads at a time, so that partial results stay small beside the output; but enough queries to keep a device busy
PIECES = 8
MIN_QUERIES = {"cpu": 2**12}
MIN_QUERIES_ELSEWHERE = 2**18

# a source, the slot of the plan that names it, and the rows that read it
Shared = tuple[int, int, slice]
# a term of n rows: the rows, their weights (n, 1, 1), the attention (n, H, Sq, D) and its log-sum-exp (n, H, Sq)
Term = tuple[slice, Tensor, Tensor, Tensor]


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
    """Equations (1) and (2). Same signature, shapes and rules as the public op; sums in float32 or wider."""
    shared = _shared_sources(_active(plan))

    def terms(heads: slice) -> Iterator[Term]:
        for source, slot, rows in shared:
            entry = slice(source, source + 1)
            mask = None if bank_mask is None else bank_mask[entry]
            part, lse = attend(_fold(query[rows, heads]), bank[0][entry, heads], bank[1][entry, heads], mask, scale)
            weight = plan.weights[rows, slot, None, None].to(lse.dtype)
            yield rows, weight, _unfold(part, query.shape[2]), _unfold(lse, query.shape[2])

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
    active = _active(plan)
    groups = []
    for rows in _slices([row for row, sources in enumerate(active) if sources]):
        shared = _shared_sources(active[rows])
        groups.append((rows, shared, _mixed_mask(bank_mask, len(active[rows]), shared)))

    def terms(heads: slice) -> Iterator[Term]:
        for rows, shared, mask in groups:
            mixed_key, mixed_value = (_mix(part[:, heads], plan.weights[rows], shared) for part in bank)
            part, lse = attend(query[rows, heads], mixed_key, mixed_value, mask, scale)
            yield rows, torch.ones_like(lse), part, lse

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
    """Plain attention of plain rows, sum_j w_j (a_j A_self + (1 - a_j) A_j), (10), of the others; the A_j are `terms`.

    Without `fuse_self` every a_j is 0 and no interpolated row attends to itself.
    """
    out = empty_output(query)
    if not out.numel():
        return out
    wide = torch.promote_types(query.dtype, torch.float32)
    active = _active(plan)
    plain = _slices([row for row, sources in enumerate(active) if not sources])
    interpolated = _slices([row for row, sources in enumerate(active) if sources])

    def attend_own(rows: slice, heads: slice) -> tuple[Tensor, Tensor]:
        mask = None if key_mask is None else key_mask[rows]
        return attend(query[rows, heads], key[rows, heads], value[rows, heads], mask, scale)

    for heads in _pieces(query):
        result = out[:, heads]
        if fuse_self:
            own, own_lse = attend_own(slice(None), heads)
            own_share = torch.zeros_like(own_lse)
        for rows in plain:
            result[rows] = own[rows] if fuse_self else attend_own(rows, heads)[0]
        if not interpolated:
            continue
        total = result if out.dtype == wide else torch.empty_like(result, dtype=wide)
        for rows in interpolated:
            total[rows] = 0
        for rows, weight, part, lse in terms(heads):
            if fuse_self:
                share = weight * _own_share(own_lse[rows], lse)
                own_share[rows] += share
                weight = weight - share
            total[rows].addcmul_(part, weight[..., None])
        for rows in interpolated:
            if fuse_self:
                total[rows].addcmul_(own[rows], own_share[rows][..., None])
            if total is not result:
                result[rows] = total[rows]
    return out


def _own_share(own_lse: Tensor, lse: Tensor) -> Tensor:
    """a_j = sigmoid(L_self - L_j), (11); any number where neither segment has anything visible."""
    difference = own_lse - lse
    return difference.masked_fill_(own_lse == lse, 0).sigmoid_()


def _mix(part: Tensor, weights: Tensor, shared: list[Shared]) -> Tensor:
    """Weighted sums of bank entries for n rows: part (E, H, Ss, D), weights (n, J) -> (n, H, Ss, D), rounded once."""
    wide = torch.promote_types(part.dtype, torch.float32)
    mixed = torch.zeros(weights.shape[0], *part.shape[1:], dtype=wide, device=part.device)
    for source, slot, rows in shared:
        mixed[rows].addcmul_(part[source].to(wide), weights[rows, slot, None, None, None].to(wide))
    return mixed.to(part.dtype)


def _mixed_mask(mask: Tensor | None, rows: int, shared: list[Shared]) -> Tensor | None:
    """(n, Ss): visible at any source of non-zero weight."""
    if mask is None:
        return None
    seen = torch.zeros(rows, mask.shape[1], dtype=torch.bool, device=mask.device)
    for source, _, members in shared:
        seen[members] |= mask[source]
    return seen


def _active(plan: InterpolationPlan) -> list[dict[int, int]]:
    """For every row its slots of non-zero weight and their sources; empty for a plain row."""
    return [
        {slot: source for slot, (source, weight) in enumerate(zip(sources, weights, strict=True)) if weight}
        for sources, weights in zip(plan.host_sources.tolist(), plan.host_weights.tolist(), strict=True)
    ]


def _shared_sources(active: list[dict[int, int]]) -> list[Shared]:
    """Every source with the rows that read it from one slot, so that their weights are a view of the plan's."""
    readers: dict[tuple[int, int], list[int]] = {}
    for row, sources in enumerate(active):
        for slot, source in sources.items():
            readers.setdefault((source, slot), []).append(row)
    return [(source, slot, rows) for (source, slot), members in readers.items() for rows in _slices(members)]


def _slices(rows: list[int]) -> list[slice]:
    """Ascending rows as few evenly spaced slices: views, where an index list would copy and cross to the device."""
    slices = []
    while rows:
        step = rows[1] - rows[0] if len(rows) > 1 else 1
        count = 1
        while count < len(rows) and rows[count] - rows[count - 1] == step:
            count += 1
        slices.append(slice(rows[0], rows[count - 1] + 1, step))
        rows = rows[count:]
    return slices


def _pieces(query: Tensor) -> list[slice]:
    """The heads in slices."""
    batch, heads, length, _ = query.shape
    enough = MIN_QUERIES.get(query.device.type, MIN_QUERIES_ELSEWHERE)
    size = max(-(-heads // PIECES), min(heads, -(-enough // (batch * length))))
    return [slice(start, start + size) for start in range(0, heads, size)]


def _fold(query: Tensor) -> Tensor:
    """(n, H, Sq, D) -> (1, H, n Sq, D): one long query. A view where `query` is a transposed (n, Sq, H, D)."""
    return query.transpose(0, 1).flatten(1, 2)[None]


def _unfold(folded: Tensor, length: int) -> Tensor:
    """(1, H, n Sq, ...) -> (n, H, Sq, ...), a view."""
    return folded[0].unflatten(1, (-1, length)).transpose(0, 1)

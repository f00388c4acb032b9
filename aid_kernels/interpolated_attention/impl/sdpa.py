"""SDPA implementation: the recipe of PyTorch's own attention ops, on any device, without expanding what rows share.

Outer: one call attends all rows to their own keys, the rows that share a source are folded into one long query against
that source's keys, and the results meet by log-sum-exp, equations (10) and (11) of the README. Inner: each interpolated
row's mixed keys are written once, in front of its own, and attended to. Rows are slices made from the plan's host
copies: it never synchronises with a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...plan import Term
from ..biases import as_bias, differs_by_query, heads_of, joined_bias, mixed_bias
from ..hidden import mixable
from ..inputs import AttentionInputs
from ..layout import empty_output
from ..tuning.routes import padded_length
from .log_sum_exp_ops import attend

# a few heads at a time, so that partial results stay small beside the output; but enough work to keep a device busy
PIECES = 8
MIN_LOGITS = {"cpu": 2**23}
MIN_LOGITS_ELSEWHERE = 2**31

# a source, the slot of the plan that names it, and the rows that read it
Shared = tuple[int, int, slice]


def outer_attention(inputs: AttentionInputs) -> Tensor:
    """Equations (1) and (2). Shapes and rules of the public op; sums in float32 or wider."""
    query, key, value, bank_key, bank_value, key_mask, bank_mask, plan, fuse_self, scale = inputs
    out = empty_output(query)
    wide = torch.promote_types(query.dtype, torch.float32)
    active = plan.host_terms()
    plain, interpolated, shared = _plain(active), _interpolated(active), _shared_sources(active)

    def attend_own(rows: slice, heads: slice) -> tuple[Tensor, Tensor]:
        mask = _mask(key_mask, rows, heads)
        return attend(query[rows, heads], key[rows, heads], value[rows, heads], mask, scale)

    def attend_source(source: int, rows: slice, heads: slice) -> Sequence[Tensor]:
        entry = slice(source, source + 1)
        mask = _mask(bank_mask, entry, heads)
        if differs_by_query(mask):
            # the rows apart, since one long query would need the mask once a row
            return attend(query[rows, heads], bank_key[entry, heads], bank_value[entry, heads], mask, scale)
        folded = attend(_fold(query[rows, heads]), bank_key[entry, heads], bank_value[entry, heads], mask, scale)
        return [_unfold(part, query.shape[2]) for part in folded]

    def fill(heads: slice) -> None:
        result = out[:, heads]
        if fuse_self:
            own, own_lse = attend_own(slice(None), heads)
            own_weight = torch.zeros_like(own_lse)
        for rows in plain:
            result[rows] = own[rows] if fuse_self else attend_own(rows, heads)[0]
        if fuse_self:
            own_lost = _clear_weightless(own, own_lse)
        total = result if out.dtype == wide or not interpolated else torch.empty_like(result, dtype=wide)
        for rows in interpolated:
            total[rows] = 0
        for source, slot, rows in shared:
            part, lse = attend_source(source, rows, heads)
            weight = plan.weights[rows, slot, None, None].to(wide)
            if fuse_self:
                lost = own_lost[rows] | _clear_weightless(part, lse)
                own_part = weight * _own_share(own_lse[rows], lse, lost)
                own_weight[rows] += own_part
                weight = weight - own_part
            total[rows].addcmul_(part, weight[..., None])
        for rows in interpolated:
            if fuse_self:
                total[rows].addcmul_(own[rows], own_weight[rows][..., None])
            if total is not result:
                result[rows] = total[rows]

    for heads in _pieces(query, key.shape[2] + bank_key.shape[2]):
        fill(heads)
    return out


def inner_attention(inputs: AttentionInputs) -> Tensor:
    """Equations (3) and (4). Keys and values are mixed in float32 or wider and rounded once.

    Mixed keys differ from row to row, so nothing is shared, and one attention to both segments beats merging two.
    """
    query, key, value, bank_key, bank_value, key_mask, bank_mask, plan, fuse_self, scale = inputs
    out = empty_output(query)
    active = plan.host_terms()
    length = bank_key.shape[2] + key.shape[2] * fuse_self
    groups = []
    for rows in _interpolated(active):
        shared = _shared_sources(active[rows])
        weights, own_mask = plan.weights[rows], None if key_mask is None else key_mask[rows]
        joined_mask = (
            None if inputs.by_query else _joined_mask(key[rows], own_mask, bank_key, bank_mask, shared, fuse_self)
        )
        groups.append((rows, weights, shared, joined_mask))

    def fill(heads: slice) -> None:
        for rows in _plain(active):
            mask = _mask(key_mask, rows, heads)
            out[rows, heads] = attend(query[rows, heads], key[rows, heads], value[rows, heads], mask, scale)[0]
        seen = heads_of(bank_mask, heads) if bank_mask is not None and differs_by_query(bank_mask) else bank_mask
        for rows, weights, shared, joined_mask in groups:
            mask = _joined_bias(inputs, rows, heads, shared) if inputs.by_query else joined_mask
            padded = length if mask is not None else padded_length(query, length)
            keys = _joined(key[rows, heads], bank_key[:, heads], seen, weights, shared, fuse_self, padded)
            values = _joined(value[rows, heads], bank_value[:, heads], seen, weights, shared, fuse_self, padded)
            out[rows, heads] = attend(query[rows, heads], keys, values, mask, scale, length)[0]

    for heads in _pieces(query, key.shape[2] + bank_key.shape[2]):
        fill(heads)
    return out


def _clear_weightless(part: Tensor, lse: Tensor) -> Tensor:
    """Which results are NaN because all their logits are -inf; zero there, since another segment may weigh all."""
    lost = lse.isneginf() & part[..., 0].isnan()
    if part.device.type != "cpu" or lost.any():
        part.masked_fill_(lost[..., None], 0)
    return lost


def _own_share(own_lse: Tensor, lse: Tensor, lost: Tensor) -> Tensor:
    """r_j = sigmoid(L - L_j), (11), where neither segment weighs anything: a half, or NaN where either is `lost`."""
    difference = own_lse - lse
    return difference.masked_fill_((own_lse == lse) & ~lost, 0).sigmoid_()


def _joined(
    own: Tensor,
    source: Tensor,
    source_mask: Tensor | None,
    weights: Tensor,
    shared: list[Shared],
    fuse_self: bool,
    padded: int,
) -> Tensor:
    """Mixed bank entries, the rows' own, zeros: (n, H, Sk, D), (E, H, Ss, D), weights (n, J) -> (n, H, padded, D)."""
    rows, heads, length, head_dim = own.shape
    source_length = source.shape[2]
    total = source_length + length * fuse_self
    joined = torch.empty(rows, heads, padded, head_dim, dtype=own.dtype, device=own.device)
    if padded > total:
        joined[:, :, total:] = 0
    wide = torch.promote_types(own.dtype, torch.float32)
    front = joined[:, :, :source_length]
    mixed = front if own.dtype == wide else torch.empty_like(front, dtype=wide)
    mixed.zero_()
    for entry, slot, members in shared:
        part = mixable(source[entry], None if source_mask is None else source_mask[entry])
        mixed[members].addcmul_(part.to(wide), weights[members, slot, None, None, None].to(wide))
    if mixed is not front:
        front.copy_(mixed)
    if fuse_self:
        joined[:, :, source_length:total] = own
    return joined


def _joined_mask(
    own: Tensor,
    own_mask: Tensor | None,
    source: Tensor,
    source_mask: Tensor | None,
    shared: list[Shared],
    fuse_self: bool,
) -> Tensor | None:
    """Which joined keys are visible, (n, Ss + Sk): a mixed one if it is at any source of non-zero weight."""
    if source_mask is None and (own_mask is None or not fuse_self):
        return None
    seen = torch.full((own.shape[0], source.shape[2]), source_mask is None, device=own.device)
    if source_mask is not None:
        for entry, _, members in shared:
            seen[members] |= source_mask[entry]
    if not fuse_self:
        return seen
    if own_mask is None:
        own_mask = torch.ones(own.shape[0], own.shape[2], dtype=torch.bool, device=own.device)
    return torch.cat([seen, own_mask], dim=1)


def _joined_bias(inputs: AttentionInputs, rows: slice, heads: slice, shared: list[Shared]) -> Tensor:
    """The same where a mask has a query axis, (n, 1 or H, 1 or Sq, Ss + Sk), equation (16), for some heads."""
    wide = torch.promote_types(inputs.query.dtype, torch.float32)

    def bias_of(mask: Tensor | None, part: slice, length: int) -> Tensor:
        if mask is None:
            return torch.zeros(1, 1, 1, length, dtype=wide, device=inputs.query.device)
        return as_bias(heads_of(mask[part], heads) if differs_by_query(mask) else mask[part, None, None], wide)

    weights = inputs.plan.weights[rows].to(wide)
    sources = {entry for entry, _, _ in shared} if inputs.bank_mask is not None else {0}
    entries = {entry: bias_of(inputs.bank_mask, slice(entry, entry + 1), inputs.bank_key.shape[2]) for entry in sources}
    if inputs.bank_mask is None:
        mixed = entries[0].expand(weights.shape[0], -1, -1, -1)
    else:
        share = torch.zeros(len(sources), weights.shape[0], 1, 1, 1, dtype=wide, device=weights.device)
        for entry, slot, members in shared:
            share[list(sources).index(entry), members] += weights[members, slot, None, None, None]
        mixed = mixed_bias(zip(entries.values(), share, strict=True))
    if not inputs.fuse_self:
        return mixed
    return joined_bias([mixed, bias_of(inputs.key_mask, rows, inputs.key.shape[2])])


def _mask(mask: Tensor | None, rows: slice, heads: slice) -> Tensor | None:
    """Some rows of a mask, and some heads where it has them."""
    if mask is None:
        return None
    return heads_of(mask[rows], heads) if differs_by_query(mask) else mask[rows]


def _plain(active: list[list[Term]]) -> list[slice]:
    return _slices([row for row, terms in enumerate(active) if not terms])


def _interpolated(active: list[list[Term]]) -> list[slice]:
    return _slices([row for row, terms in enumerate(active) if terms])


def _shared_sources(active: list[list[Term]]) -> list[Shared]:
    """Every source with the rows that read it from one slot, so that their weights are a view of the plan's."""
    readers: dict[tuple[int, int], list[int]] = {}
    for row, terms in enumerate(active):
        for slot, source, _ in terms:
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


def _pieces(query: Tensor, keys: int) -> list[slice]:
    """The heads in even slices, given how many keys a query meets; none where there is nothing to compute."""
    if not query.numel():
        return []
    batch, heads, length, _ = query.shape
    enough = MIN_LOGITS.get(query.device.type, MIN_LOGITS_ELSEWHERE)
    pieces = max(1, min(PIECES, batch * heads * length * keys // enough))
    size = -(-heads // pieces)
    return [slice(start, start + size) for start in range(0, heads, size)]


def _fold(query: Tensor) -> Tensor:
    """(n, H, Sq, D) -> (1, H, n Sq, D): one long query. A view where `query` is a transposed (n, Sq, H, D)."""
    return query.transpose(0, 1).flatten(1, 2)[None]


def _unfold(folded: Tensor, length: int) -> Tensor:
    """(1, H, n Sq, ...) -> (n, H, Sq, ...), a view."""
    return folded[0].unflatten(1, (-1, length)).transpose(0, 1)

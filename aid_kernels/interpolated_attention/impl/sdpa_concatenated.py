"""Second route of the SDPA implementation: each source's keys concatenated with the rows' own, one attention a source.

Outer alone: equation (2) of the README as it stands, without the log-sum-exp of (10) and (11). Two units of work a
source and nothing to merge: more products and less memory traffic than `sdpa.py`, which pays where keys are few.
`tuning/routes.py` says which route serves what. Inner has nothing to merge in either.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...plan import Term
from ..inputs import AttentionInputs
from ..layout import empty_output
from ..tuning.routes import padded_length
from .log_sum_exp_ops import attend


def outer_attention(inputs: AttentionInputs) -> Tensor:
    """Equations (1) and (2), for calls without masks; sums in float32 or wider."""
    query, key, value, bank_key, bank_value, _, _, plan, fuse_self, scale = inputs
    out = empty_output(query)
    if not query.numel():
        return out
    wide = torch.promote_types(query.dtype, torch.float32)
    length = bank_key.shape[2] + key.shape[2] * fuse_self
    padded = padded_length(query, length)
    for rows, terms in _runs(plan.host_terms()):
        if not terms:
            out[rows] = attend(query[rows], key[rows], value[rows], None, scale)[0]
            continue
        total: Tensor | None = None
        for slot, source, _ in terms:
            keys = _concatenated(bank_key[source], key[rows], fuse_self, padded)
            values = _concatenated(bank_value[source], value[rows], fuse_self, padded)
            part = attend(query[rows], keys, values, None, scale, length)[0].to(wide)
            weights = plan.weights[rows, slot, None, None, None].to(wide)
            total = part.mul_(weights) if total is None else total.addcmul_(part, weights)
        assert total is not None
        out[rows] = total
    return out


def _runs(active: list[list[Term]]) -> list[tuple[slice, list[Term]]]:
    """Neighbouring rows that read the same sources from the same slots, with the first one's terms."""
    runs: list[tuple[slice, list[Term]]] = []
    for row, terms in enumerate(active):
        if runs and _places(runs[-1][1]) == _places(terms):
            runs[-1] = slice(runs[-1][0].start, row + 1), terms
        else:
            runs.append((slice(row, row + 1), terms))
    return runs


def _places(terms: list[Term]) -> list[tuple[int, int]]:
    return [(slot, source) for slot, source, _ in terms]


def _concatenated(source: Tensor, own: Tensor, fuse_self: bool, padded: int) -> Tensor:
    """A bank entry (H, Ss, D), the rows' own (n, H, Sk, D) where fused, and zeros: (n, H, padded, D)."""
    source = source.expand(own.shape[0], *source.shape)
    parts = [source, own] if fuse_self else [source]
    zeros = own.new_zeros(()).expand(*own.shape[:2], padded - sum(part.shape[2] for part in parts), own.shape[3])
    return torch.cat([*parts, zeros], dim=2)

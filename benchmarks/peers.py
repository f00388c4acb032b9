"""Rival ways to run one sequence's interpolated attention, on stock PyTorch and through this package.

All take (q, k, v, plan, fuse_self) with q, k, v (m, H, S, D) and a plan from `InterpolationPlan.sequence`, so that a
benchmark calls them alike. `materialized` and `sdpa_concat` treat all rows alike, as the public AID code does: an
endpoint attends to its own keys twice, which changes nothing but costs as much as a frame in between.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from aid_kernels import InterpolationPlan, inner_attention, outer_attention

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
Peer = Callable[[Tensor, Tensor, Tensor, InterpolationPlan, bool], Tensor]


def _materialize(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.mT, dim=-1) @ v


def _concat_outer(
    attention: Attention, q: Tensor, k: Tensor, v: Tensor, plan: InterpolationPlan, fuse_self: bool
) -> Tensor:
    """Two attentions for every row, to each endpoint's keys, then their weighted sum: 4 units of work fused, 2 not."""

    def attend_to(end: int) -> Tensor:
        keys, values = k[end].expand_as(k), v[end].expand_as(v)
        if fuse_self:
            keys, values = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)
        return attention(q, keys, values)

    return torch.lerp(attend_to(0), attend_to(-1), _coefficients(plan, q.dtype))


def _concat_inner(
    attention: Attention, q: Tensor, k: Tensor, v: Tensor, plan: InterpolationPlan, fuse_self: bool
) -> Tensor:
    """One attention for every row, to mixed keys: 2 units of work fused, 1 not."""
    t = _coefficients(plan, q.dtype)
    keys, values = torch.lerp(k[:1], k[-1:], t), torch.lerp(v[:1], v[-1:], t)
    if fuse_self:
        keys, values = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)
    return attention(q, keys, values)


def _coefficients(plan: InterpolationPlan, dtype: torch.dtype) -> Tensor:
    """(m, 1, 1, 1) from 0 at the first row to 1 at the last, in the dtype of the keys."""
    if not len(plan) == plan.num_interpolated + 2 == plan.bank_size:
        raise ValueError(f"these peers serve one sequence, with the endpoints first and last; got\n{plan}")
    t = plan.weights[:, 1].clone()
    t[-1:] = 1
    return t.to(dtype)[:, None, None, None]


def _packaged(op: Callable[..., Tensor], impl: str) -> Peer:
    return lambda q, k, v, plan, fuse_self: op(q, k, v, plan, fuse_self, impl=impl)


PEERS: dict[str, dict[str, Peer]] = {
    "outer": {
        "reference": _packaged(outer_attention, "reference"),
        "materialized": partial(_concat_outer, _materialize),
        "sdpa_concat": partial(_concat_outer, F.scaled_dot_product_attention),
        "sdpa": _packaged(outer_attention, "sdpa"),
    },
    "inner": {
        "reference": _packaged(inner_attention, "reference"),
        "materialized": partial(_concat_inner, _materialize),
        "sdpa_concat": partial(_concat_inner, F.scaled_dot_product_attention),
        "sdpa": _packaged(inner_attention, "sdpa"),
    },
}


def oracle(mode: str, q: Tensor, k: Tensor, v: Tensor, plan: InterpolationPlan, fuse_self: bool) -> Tensor:
    """What every peer must compute, in float64."""
    return PEERS[mode]["reference"](q.double(), k.double(), v.double(), plan, fuse_self)


def check(out: Tensor, exact: Tensor) -> float:
    """Largest error as a share of the largest value; raises if a peer computed something else.

    Raises:
        AssertionError: over 16 roundings of the dtype, far under what a wrong source, weight or scale gives.
    """
    error = (out.double() - exact).abs().max().item() / exact.abs().max().item()
    limit = 16 * torch.finfo(out.dtype).eps
    if not error <= limit:
        raise AssertionError(f"relative error {error:.2e} is over {limit:.2e}: not timed")
    return error

"""Rival ways to run one sequence's interpolated attention, on stock PyTorch and through this package.

All take (q, k, v, plan, fuse_self) with q, k, v (m, H, S, D) and a plan from `InterpolationPlan.sequence`, so that a
benchmark calls them alike. `materialized` and `sdpa_concat` treat all rows alike, as the public AID code does: an
endpoint attends to its own keys twice, which changes nothing but costs as much as a frame in between. So do `flash3`
and `sage`, where installed. `flex` and `sdpa_compiled` do what stock parts can do best: two attentions that give their
log-sum-exp, no concatenated keys, the merge compiled. `plain` computes less: attention alone, for scale.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from aid_kernels import InterpolationPlan, inner_attention, outer_attention
from aid_kernels.interpolated_attention.impl import log_sum_exp_ops

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
AttentionWithSum = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
Peer = Callable[[Tensor, Tensor, Tensor, InterpolationPlan, bool], Tensor]

# peers that round keys and queries to fewer bits: more than this share of the largest value is a wrong result
LOSSY = {"sage": 0.1}
SAMPLED = 64  # queries that `check_sample` compares


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


@lru_cache(maxsize=8)
def _coefficients(plan: InterpolationPlan, dtype: torch.dtype) -> Tensor:
    """(m, 1, 1, 1) from 0 at the first row to 1 at the last, in the dtype of the keys."""
    if not len(plan) == plan.num_interpolated + 2 == plan.bank_size:
        raise ValueError(f"these peers serve one sequence, with the endpoints first and last; got\n{plan}")
    t = plan.weights[:, 1].clone()
    t[-1:] = 1
    return t.to(dtype)[:, None, None, None]


def _merged_outer(attend: AttentionWithSum, q: Tensor, k: Tensor, v: Tensor, t: Tensor, fuse_self: bool) -> Tensor:
    """All rows to their own keys, the interior rows to both endpoints in one call: 3 units of work fused, 2 not."""
    between, length = len(q) - 2, q.shape[2]
    endpoints = slice(None, None, len(q) - 1)
    # one long query, twice: (2, H, n Sq, D)
    folded = q[1:-1].transpose(0, 1).flatten(1, 2).expand(2, -1, -1, -1)
    part, total = attend(folded, k[endpoints], v[endpoints])
    part = part.unflatten(2, (between, length)).transpose(1, 2).float()
    total = total.unflatten(2, (between, length)).transpose(1, 2)
    shares = torch.stack([1 - t[1:-1], t[1:-1]])
    own, own_total = attend(q, k, v) if fuse_self else attend(q[endpoints], k[endpoints], v[endpoints])
    if fuse_self:
        part = torch.lerp(part, own[1:-1].float(), torch.sigmoid(own_total[1:-1] - total)[..., None])
    return torch.cat([own[:1], (shares * part).sum(0).to(q.dtype), own[-1:]])


def _merged_inner(attend: AttentionWithSum, q: Tensor, k: Tensor, v: Tensor, t: Tensor, fuse_self: bool) -> Tensor:
    """All rows to their own keys, the rows between to mixed ones: 2 units of work fused, 1 not."""
    endpoints = slice(None, None, len(q) - 1)
    keys, values = (torch.lerp(part[:1].float(), part[-1:].float(), t[1:-1]).to(q.dtype) for part in (k, v))
    part, total = attend(q[1:-1], keys, values)
    own, own_total = attend(q, k, v) if fuse_self else attend(q[endpoints], k[endpoints], v[endpoints])
    if fuse_self:
        part = torch.lerp(part.float(), own[1:-1].float(), torch.sigmoid(own_total[1:-1] - total)[..., None])
    return torch.cat([own[:1], part.to(q.dtype), own[-1:]])


def _flex(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    from torch.nn.attention.flex_attention import AuxRequest, flex_attention

    out, extra = flex_attention(q, k, v, return_aux=AuxRequest(lse=True))
    assert extra.lse is not None  # asked for
    return out, extra.lse


def _stock(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return log_sum_exp_ops.attend(q, k, v, None, q.shape[-1] ** -0.5)


def _compiled(merged: Callable[..., Tensor], attend: AttentionWithSum) -> Peer:
    """Compiled on GPUs, anew for every shape; eager on the CPU, where it is only tried.

    Call `torch.compiler.reset()` between shapes: past a handful of them torch would quietly run the rest eagerly.
    """

    def merge(q: Tensor, k: Tensor, v: Tensor, t: Tensor, fuse_self: bool) -> Tensor:
        return merged(attend, q, k, v, t, fuse_self)

    compiled = lru_cache(maxsize=1)(lambda: torch.compile(merge, dynamic=False))

    def call(q: Tensor, k: Tensor, v: Tensor, plan: InterpolationPlan, fuse_self: bool) -> Tensor:
        function = compiled() if q.is_cuda else merge
        return function(q, k, v, _coefficients(plan, torch.float32), fuse_self)

    return call


def _flash3(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    from flash_attn_interface import flash_attn_func

    out = flash_attn_func(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    # some versions return the log-sum-exp beside it
    return (out[0] if isinstance(out, tuple) else out).transpose(1, 2)


def _sage(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    from sageattention import sageattn

    return sageattn(q, k, v, tensor_layout="HND", is_causal=False)


def _plain(q: Tensor, k: Tensor, v: Tensor, plan: InterpolationPlan, fuse_self: bool) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


def _packaged(op: Callable[..., Tensor], impl: str) -> Peer:
    return lambda q, k, v, plan, fuse_self: op(q, k, v, plan, fuse_self, impl=impl)


def _peers(op: Callable[..., Tensor], concat: Callable[..., Tensor], merged: Callable[..., Tensor]) -> dict[str, Peer]:
    return {
        "reference": _packaged(op, "reference"),
        "materialized": partial(concat, _materialize),
        "sdpa_concat": partial(concat, F.scaled_dot_product_attention),
        "sdpa": _packaged(op, "sdpa"),
        "sdpa_compiled": _compiled(merged, _stock),
        "flex": _compiled(merged, _flex),
        "flash3": partial(concat, _flash3),
        "sage": partial(concat, _sage),
        "plain": _plain,
        "ours": _packaged(op, "triton"),
    }


PEERS: dict[str, dict[str, Peer]] = {
    "outer": _peers(outer_attention, _concat_outer, _merged_outer),
    "inner": _peers(inner_attention, _concat_inner, _merged_inner),
}
_PACKAGES = {"flash3": "flash_attn_interface", "sage": "sageattention"}


def missing(peer: str) -> str | None:
    """Why a peer cannot be tried on this machine; None if it can."""
    package = _PACKAGES.get(peer)
    return f"{package} is not installed" if package and importlib.util.find_spec(package) is None else None


def oracle(mode: str, q: Tensor, k: Tensor, v: Tensor, plan: InterpolationPlan, fuse_self: bool) -> Tensor:
    """What every peer must compute, in float64."""
    return PEERS[mode]["reference"](q.double(), k.double(), v.double(), plan, fuse_self)


def check(out: Tensor, exact: Tensor, limit: float | None = None) -> float:
    """Largest error as a share of the largest value; raises if a peer computed something else.

    Raises:
        AssertionError: over `limit`, by default 16 roundings of the dtype, far under what a wrong source, weight or
            scale gives.
    """
    error = (out.double() - exact).abs().max().item() / exact.abs().max().item()
    limit = 16 * torch.finfo(out.dtype).eps if limit is None else limit
    if not error <= limit:
        raise AssertionError(f"relative error {error:.2e} is over {limit:.2e}: not timed")
    return error


def check_sample(
    mode: str, out: Tensor, q: Tensor, k: Tensor, v: Tensor, plan: InterpolationPlan, limit: float | None = None
) -> float:
    """As `check`, with `fuse_self`, of some queries of the first and last head: float64 on all would take too long."""
    heads, length = [0, q.shape[1] - 1], q.shape[2]
    places = torch.linspace(0, length - 1, min(SAMPLED, length), device=q.device).round().long()
    exact = oracle(mode, q[:, heads][:, :, places], k[:, heads], v[:, heads], plan, True)
    return check(out[:, heads][:, :, places], exact, limit)

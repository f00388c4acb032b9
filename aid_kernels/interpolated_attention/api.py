"""The public functions: signature, checks, and the op that dispatches."""

from __future__ import annotations

import torch
from torch import Tensor

from ..plan import InterpolationPlan
from . import dispatch
from .checks import check_inputs
from .impl.log_sum_exp_ops import op_serving
from .ops import OPS


def outer_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: InterpolationPlan,
    fuse_self: bool = True,
    *,
    bank: tuple[Tensor, Tensor] | None = None,
    key_mask: Tensor | None = None,
    bank_mask: Tensor | None = None,
    scale: float | None = None,
    impl: str = "auto",
) -> Tensor:
    """Outer interpolated attention of all rows of a batch: a weighted sum of attentions, one to each source.

    sum_j w_j Attn(Q, [K*_j, K], [V*_j, V]) with `fuse_self`, sum_j w_j Attn(Q, K*_j, V*_j) without (arXiv 2403.17924,
    section 4, AID-O; equations (1) and (2) of this folder's README). Rows of zero weights are plain attention.

    Args:
        q: (B, H, Sq, D) queries, float16, bfloat16 or float32; any strides with a unit last one.
        k, v: (B, H, Sk, D) the rows' own keys and values.
        plan: the B rows' sources and weights, on the device of `q`.
        fuse_self: attend to the row's own keys together with each source's.
        bank: (k_src, v_src), each (E, H, Ss, D), that the plan's sources index; default: `k` and `v`.
        key_mask: (B, Sk) bool, True = may be attended to.
        bank_mask: (E, Ss) bool, likewise for the bank.
        scale: factor of the logits; default 1/sqrt(D).
        impl: "auto", "triton", "sdpa" or "reference". A named one raises where it cannot serve; `explain` says why.

    Returns:
        (B, H, Sq, D) in the dtype of `q`. Softmax and sums in float32. A query that may attend to nothing gives zeros.

    Raises:
        TypeError, ValueError: before anything is launched, naming the offending value and the fix.
    """
    return _run("outer", q, k, v, plan, fuse_self, bank, key_mask, bank_mask, scale, impl)


def inner_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: InterpolationPlan,
    fuse_self: bool = True,
    *,
    bank: tuple[Tensor, Tensor] | None = None,
    key_mask: Tensor | None = None,
    bank_mask: Tensor | None = None,
    scale: float | None = None,
    impl: str = "auto",
) -> Tensor:
    """Inner interpolated attention of all rows of a batch: one attention to the weighted sum of the sources.

    Attn(Q, [sum_j w_j K*_j, K], [sum_j w_j V*_j, V]) with `fuse_self`, without it the row's own K and V fall away
    (arXiv 2403.17924, section 4, AID-I; equations (3) and (4) of this folder's README). Arguments, result and errors as
    in `outer_attention`; an interpolated key is visible where `bank_mask` shows it at any source of non-zero weight.
    Keys and values are mixed in float32 and rounded once to the dtype of `k`.
    """
    return _run("inner", q, k, v, plan, fuse_self, bank, key_mask, bank_mask, scale, impl)


def explain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: InterpolationPlan,
    fuse_self: bool = True,
    *,
    mode: str = "outer",
    bank: tuple[Tensor, Tensor] | None = None,
    key_mask: Tensor | None = None,
    bank_mask: Tensor | None = None,
    scale: float | None = None,
    impl: str = "auto",
) -> dispatch.Explanation:
    """Which implementation would serve this call and why, and every reason why the others could not.

    Takes the arguments of `outer_attention` and `mode`, "outer" or "inner". Raises what the ops raise.
    """
    if mode not in OPS:
        raise ValueError(f"mode must be one of {', '.join(OPS)}, got {mode!r}")
    check_inputs(q, k, v, plan, bank, key_mask, bank_mask, scale)
    call = (mode, q, k, plan, bank or (k, v))
    needs_grad, masked = _needs_grad(q, k, v, bank), key_mask is not None or bank_mask is not None
    reasons = {name: dispatch.refusals(name, *call, needs_grad) for name in dispatch.IMPLEMENTATIONS}
    chosen = dispatch.choose(mode, impl, *call[1:], masked, needs_grad)
    return dispatch.Explanation(*chosen, reasons, op_serving(q, k, v, key_mask))


def _run(
    mode: str,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: InterpolationPlan,
    fuse_self: bool,
    bank: tuple[Tensor, Tensor] | None,
    key_mask: Tensor | None,
    bank_mask: Tensor | None,
    scale: float | None,
    impl: str,
) -> Tensor:
    check_inputs(q, k, v, plan, bank, key_mask, bank_mask, scale)
    dispatch.check_name(impl, "impl")
    bank_key, bank_value = bank if bank is not None else (None, None)
    return OPS[mode](
        q,
        k,
        v,
        plan.sources,
        plan.weights,
        plan.schedule,
        plan.host_sources,
        plan.host_weights,
        plan.bank_size,
        bank_key,
        bank_value,
        key_mask,
        bank_mask,
        fuse_self,
        q.shape[3] ** -0.5 if scale is None else float(scale),
        impl,
        _needs_grad(q, k, v, bank),
    )


def _needs_grad(q: Tensor, k: Tensor, v: Tensor, bank: tuple[Tensor, Tensor] | None) -> bool:
    tensors = (q, k, v) if bank is None else (q, k, v, *bank)
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)

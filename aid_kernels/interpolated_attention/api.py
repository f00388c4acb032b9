"""Public functions of the operator: they check and bundle their arguments, and call the op that dispatches."""

from __future__ import annotations

from torch import Tensor

from ..constants import MODES
from ..plan import InterpolationPlan
from . import dispatch, ops
from .checks import checked_inputs


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
        key_mask: (B, Sk) bool, True = may be attended to. Or with a query axis, (B, 1 or H, 1 or Sq, Sk), bool or, in
            the dtype of `q`, added to the logits.
        bank_mask: (E, Ss) or (E, 1 or H, 1 or Sq, Ss), likewise for the bank; its query axis is of `q`.
        scale: factor of the logits, a finite number; default 1/sqrt(D).
        impl: "auto", or one of `IMPLEMENTATIONS`. A named one raises where it cannot serve; `explain` says why.

    Returns:
        (B, H, Sq, D) in the dtype of `q`. Softmax and sums in float32. A query that may attend to nothing gives zeros.

    Raises:
        TypeError, ValueError: before anything is launched, naming the offending value and the fix.
    """
    inputs = checked_inputs(q, k, v, plan, fuse_self, bank, key_mask, bank_mask, scale)
    return ops.call("outer", inputs, impl)


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
    What an additive one adds is the mean, by weight, of the sources that show it.
    Keys and values are mixed in float32 and rounded once to the dtype of `k`.
    """
    inputs = checked_inputs(q, k, v, plan, fuse_self, bank, key_mask, bank_mask, scale)
    return ops.call("inner", inputs, impl)


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
    if not isinstance(mode, str) or mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    inputs = checked_inputs(q, k, v, plan, fuse_self, bank, key_mask, bank_mask, scale)
    return dispatch.explain(mode, inputs, impl)

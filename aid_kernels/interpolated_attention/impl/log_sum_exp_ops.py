"""Stock attention ops that also return the log-sum-exp of their logits, and which one is selected for which inputs.

Tried from the top; the first that takes the inputs serves them. On CUDA and ROCm torch's own `can_use_*` rules decide
about hardware, head_dim and lengths (and honour `torch.nn.attention.sdpa_kernel`).

| name | device | dtype | masks |
|---|---|---|---|
| flash_for_cpu | CPU | all | yes |
| cudnn | CUDA | float16, bfloat16 | no, left to `efficient` |
| flash | CUDA, ROCm | float16, bfloat16 | no, it takes none |
| efficient | CUDA, ROCm | float16, bfloat16, float32 | yes |
| math | any | all | yes; materialized softmax, in float32 (float64 for float64), a few queries at a time |

The three GPU ops are written from torch's schemas and meta kernels; no GPU has run them here yet.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.backends import cuda as rules

from ..biases import differs_by_query, visible
from ..hidden import without_hidden

MAX_LOGITS = 2**24  # elements of logits the fallback with a materialized softmax holds at once (64 MiB in float32)
BIAS_ALIGNMENT = 16  # elements; the efficient op reads its bias in aligned vectors

# rows of one call: CUDA's grids hold 65,535 blocks along the axis that the ops put them on
MAX_ROWS = {"cuda": 65535}

aten = torch.ops.aten


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, length: int | None = None
) -> tuple[Tensor, Tensor]:
    """softmax(scale Q K^T) V and the natural log-sum-exp L of its logits, as equation (11) of the README reads it.

    Args:
        query: (B, H, Sq, D); key, value: (B, H, S, D), all of one dtype.
            Where a mask has a query axis, keys, values and mask may have one row for all B.
        mask: (B, S) bool, True = may be attended to; or (B, 1 or H, 1 or Sq, S) bool or added to the logits.
        length: without a mask, how many keys there are; those behind them are padding, finite, and weigh nothing.

    Returns:
        (B, H, Sq, D) in the dtype of `query` or wider, and (B, H, Sq) in float32 or wider. Nothing visible: 0 and -inf.
        All visible logits -inf: -inf, and NaN or the op's own answer.
    """
    if not query.numel() or not key.numel():
        # the CPU op divides by zero on empty inputs
        wide = torch.promote_types(query.dtype, torch.float32)
        return torch.zeros_like(query), torch.full(query.shape[:3], -torch.inf, dtype=wide, device=query.device)
    limit = MAX_ROWS.get(query.device.type)
    if limit is not None and query.shape[0] > limit:
        pieces = [slice(start, start + limit) for start in range(0, query.shape[0], limit)]
        parts = [
            attend(
                query[rows],
                _rows(key, rows),
                _rows(value, rows),
                None if mask is None else _rows(mask, rows),
                scale,
                length,
            )
            for rows in pieces
        ]
        return torch.cat([out for out, _ in parts]), torch.cat([lse for _, lse in parts])
    key, value = (_unit_last(without_hidden(part, mask)) for part in (key, value))
    if key.shape[0] != query.shape[0]:
        key, value = (part.expand(query.shape[0], -1, -1, -1) for part in (key, value))
    bias = _padding_bias(query, key, length) if mask is None else _bias(mask, query)
    name = log_sum_exp_op(query, key, value, bias)
    out, lse = _OPS[name](query, key, value, bias, scale)
    if mask is not None:
        # ops disagree about a row with nothing visible: the CPU one says log-sum-exp 0, others NaN
        blind = ~visible(mask).any(dim=-1) if differs_by_query(mask) else ~mask.any(dim=1)[:, None, None]
        out.masked_fill_(blind[..., None], 0)
        lse = lse.masked_fill(blind, -torch.inf)
    if name == "flash_for_cpu":
        _mend_weightless(out, lse, query, key, bias, scale)
    return out, lse


def selected_op(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> str:
    """Name of the op in the table above that `attend` would run, with its own `mask`."""
    return log_sum_exp_op(query, key, value, None if mask is None else _bias(mask, query))


def log_sum_exp_op(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> str:
    """Name of the op in the table above that serves these inputs; `bias` (B, H, Sq, S) is added to the logits."""
    if query.device.type == "cpu":
        return "flash_for_cpu"
    if query.device.type == "cuda":
        params = rules.SDPAParams(query, key, value, bias, 0.0, False, False)
        if bias is None and torch.version.hip is None and rules.can_use_cudnn_attention(params):
            return "cudnn"
        if bias is None and rules.can_use_flash_attention(params):
            return "flash"
        if rules.can_use_efficient_attention(params):
            return "efficient"
    return "math"


def _bias(mask: Tensor, query: Tensor) -> Tensor:
    """0 where visible and -inf elsewhere, or what is added, (B, H, Sq, S) without a copy per head or query."""
    if not differs_by_query(mask):
        batch, length = mask.shape
        padded = -(-length // BIAS_ALIGNMENT) * BIAS_ALIGNMENT
        bias = torch.zeros(batch, 1, 1, padded, dtype=query.dtype, device=query.device)[..., :length]
        bias.masked_fill_(~mask[:, None, None, :], -torch.inf)
        return bias.expand(batch, query.shape[1], query.shape[2], length)
    *front, length = mask.shape
    padded = -(-length // BIAS_ALIGNMENT) * BIAS_ALIGNMENT
    bias = torch.zeros(*front, padded, dtype=query.dtype, device=query.device)[..., :length]
    if mask.dtype == torch.bool:
        bias.masked_fill_(~mask, -torch.inf)
    else:
        bias.copy_(mask)
    return bias.expand(*query.shape[:3], length)


def _rows(part: Tensor, rows: slice) -> Tensor:
    """Some rows; a part with one row for all as it is."""
    return part if part.shape[0] == 1 else part[rows]


def _padding_bias(query: Tensor, key: Tensor, length: int | None) -> Tensor | None:
    """-inf behind the first `length` keys, (B, H, Sq, S) without a copy; None where there is no padding."""
    keys = key.shape[2]
    if length is None or length == keys:
        return None
    bias = torch.zeros(keys, dtype=query.dtype, device=query.device)
    bias[length:] = -torch.inf
    return bias.expand(*query.shape[:3], keys)


def _unit_last(part: Tensor) -> Tensor:
    """The same with a unit last stride, which an elementwise op may have lost on a view that overlaps itself."""
    return part if part.stride(-1) == 1 else part.contiguous()


def _mend_weightless(out: Tensor, lse: Tensor, query: Tensor, key: Tensor, bias: Tensor | None, scale: float) -> None:
    """Set NaN and -inf, as a softmax has it, where all logits are -inf: the CPU op says 0 and 0 there.

    0 may also be right, so the logits of those few queries are asked.
    """
    suspects = lse == 0
    if not suspects.any():
        return
    for row, head in suspects.any(dim=2).nonzero().tolist():
        for places in suspects[row, head].nonzero()[:, 0].split(max(1, MAX_LOGITS // key.shape[2])):
            logits = scale * (query[row, head, places].to(lse.dtype) @ key[row, head].to(lse.dtype).mT)
            if bias is not None:
                logits += bias[row, head, places]
            weightless = places[logits.isneginf().all(dim=1)]
            out[row, head, weightless] = torch.nan
            lse[row, head, weightless] = -torch.inf


def _without_plus_inf(out: Tensor, lse: Tensor) -> tuple[Tensor, Tensor]:
    """-inf where FlashAttention says +inf of a query whose logits are all -inf; NaN results are left alone."""
    return out, lse.masked_fill(lse.isposinf() & ~out[..., 0].isnan(), -torch.inf)


def _flash_for_cpu(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    # the op writes into an empty_like(query) as if its last stride were 1, pytorch/pytorch#187504
    if torch.empty_like(query, device="meta").stride(-1) != 1:
        query = query.contiguous()
    return aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, attn_mask=bias, scale=scale)


def _cudnn(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    out, lse, *_ = aten._scaled_dot_product_cudnn_attention(query, key, value, bias, True, scale=scale)
    return _without_plus_inf(out, lse.reshape(query.shape[:3]))  # from (B, H, Sq, 1)


def _flash(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    out, lse, *_ = aten._scaled_dot_product_flash_attention(query, key, value, scale=scale)
    return _without_plus_inf(out, lse[..., : query.shape[2]])


def _efficient(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    out, lse, *_ = aten._scaled_dot_product_efficient_attention(query, key, value, bias, True, scale=scale)
    return _without_plus_inf(out, lse[..., : query.shape[2]])  # padded to a multiple of 32


def _math(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(query.dtype, torch.float32)
    out = torch.empty(query.shape, dtype=wide, device=query.device)
    lse = torch.empty(query.shape[:3], dtype=wide, device=query.device)
    step = max(1, MAX_LOGITS // (query.shape[1] * key.shape[2]))
    for row in range(query.shape[0]):
        keys, values = key[row].to(wide), value[row].to(wide)
        for start in range(0, query.shape[2], step):
            part = row, slice(None), slice(start, start + step)
            logits = scale * (query[part].to(wide) @ keys.mT)
            if bias is not None:
                logits += bias[part]
            lse[part] = logits.logsumexp(dim=-1)
            out[part] = logits.softmax(dim=-1) @ values
    return out, lse


_OPS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor | None, float], tuple[Tensor, Tensor]]] = {
    "flash_for_cpu": _flash_for_cpu,
    "cudnn": _cudnn,
    "flash": _flash,
    "efficient": _efficient,
    "math": _math,
}

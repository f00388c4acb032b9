"""Checks of a call's arguments: shapes, dtypes, strides and devices; never synchronises with a GPU."""

from __future__ import annotations

import numbers
import reprlib
import sys
from typing import Any

import torch
from torch import Tensor

from ..constants import HEAD_DIM_STEP, MAX_HEAD_DIM
from ..plan import InterpolationPlan
from .inputs import AttentionInputs

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def checked_inputs(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: InterpolationPlan,
    fuse_self: bool,
    bank: tuple[Tensor, Tensor] | None,
    key_mask: Tensor | None,
    bank_mask: Tensor | None,
    scale: float | None,
) -> AttentionInputs:
    """The arguments of a public function as one object, with the bank and the scale that None stands for.

    Raises:
        TypeError, ValueError: the op cannot take them; names the offending value and the fix.
    """
    if not isinstance(plan, InterpolationPlan):
        kind = type(plan).__name__
        # two copies of the package may be loaded under two names
        other = f" of {type(plan).__module__}, not of {InterpolationPlan.__module__}"
        raise TypeError(
            f"plan must be an InterpolationPlan, got {kind}{other if kind == InterpolationPlan.__name__ else ''}"
        )
    if bank is not None and (not isinstance(bank, tuple | list) or len(bank) != 2):
        raise TypeError("bank must be a pair (k_src, v_src) of tensors, or None for the batch's own keys and values")
    named = {"q": query, "k": key, "v": value}
    if bank is not None:
        named |= {"k_src": bank[0], "v_src": bank[1]}
    for name, tensor in named.items():
        _check_tensor(name, tensor, query)
    _check_head_dim(query.shape[3])
    if not isinstance(fuse_self, bool):
        raise TypeError(f"fuse_self must be True or False, got {reprlib.repr(fuse_self)}")
    scale = query.shape[3] ** -0.5 if scale is None else _number(scale)
    bank_key, bank_value = (key, value) if bank is None else bank
    inputs = AttentionInputs(query, key, value, bank_key, bank_value, key_mask, bank_mask, plan, fuse_self, scale)
    _check_shapes(inputs)
    _check_plan(inputs)
    _check_mask("key_mask", key_mask, key, query)
    _check_mask("bank_mask", bank_mask, bank_key, query)
    return inputs


def _number(scale: Any) -> float:
    """A finite float; comparisons alone are asked of it, since torch.compile may hand over a symbolic one."""
    # a tensor's gradient would be lost
    symbolic = isinstance(scale, torch.SymFloat | torch.SymInt)
    if isinstance(scale, bool) or not (isinstance(scale, int | float) or symbolic or isinstance(scale, numbers.Real)):
        raise TypeError(f"scale must be a number or None, got {type(scale).__name__}: {reprlib.repr(scale)}")
    if not isinstance(scale, int | float) and hasattr(scale, "dtype"):
        # a NumPy scalar, which would cast the limits to its own dtype
        scale = float(scale)
    # beyond float's range too, an integer of 400 digits compares
    if not -sys.float_info.max <= scale <= sys.float_info.max:
        raise ValueError(f"scale must be finite, got {reprlib.repr(scale)}; None means 1/sqrt(head_dim)")
    return float(scale)


def _check_tensor(name: str, tensor: Tensor, query: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    _check_dense(name, tensor)
    if tensor.ndim != 4:
        raise ValueError(
            f"{name} must be (batch, heads, length, head_dim), got {tensor.ndim} dimensions: {tuple(tensor.shape)}"
        )
    if tensor.dtype not in DTYPES:
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, got {tensor.dtype}")
    if tensor.dtype != query.dtype:
        raise TypeError(f"q is {query.dtype} but {name} is {tensor.dtype}; cast them to one dtype")
    if tensor.device != query.device:
        raise ValueError(f"q is on {query.device} but {name} on {tensor.device}; move them to one device")
    if tensor.numel() and tensor.stride(-1) != 1:
        raise ValueError(
            f"{name} must have a unit last stride, got strides {tensor.stride()}; call .contiguous() on it"
        )


def _check_dense(name: str, tensor: Tensor) -> None:
    if tensor.is_nested or tensor.layout != torch.strided:
        kind = "nested" if tensor.is_nested else str(tensor.layout)
        fix = "torch.nested.to_padded_tensor and a mask" if tensor.is_nested else ".to_dense()"
        raise ValueError(f"{name} must be a dense tensor, got a {kind} one; use {fix}")


def _check_head_dim(head_dim: int) -> None:
    if head_dim % HEAD_DIM_STEP or not HEAD_DIM_STEP <= head_dim <= MAX_HEAD_DIM:
        raise ValueError(
            f"head_dim must be a multiple of {HEAD_DIM_STEP} from {HEAD_DIM_STEP} to {MAX_HEAD_DIM}, got {head_dim}; "
            "pad q, k and v with zeros"
        )


def _check_shapes(inputs: AttentionInputs) -> None:
    query, key, value, bank_key, bank_value, *_ = inputs
    if key.shape != value.shape:
        raise ValueError(f"k and v must have one shape, got {tuple(key.shape)} and {tuple(value.shape)}")
    for axis, name in ((0, "batch"), (1, "heads"), (3, "head_dim")):
        if key.shape[axis] != query.shape[axis]:
            raise ValueError(f"q and k differ in {name}: {tuple(query.shape)} and {tuple(key.shape)}")
    if bank_key.shape != bank_value.shape:
        raise ValueError(
            f"k_src and v_src must have one shape, got {tuple(bank_key.shape)} and {tuple(bank_value.shape)}"
        )
    for axis, name in ((1, "heads"), (3, "head_dim")):
        if bank_key.shape[axis] != query.shape[axis]:
            raise ValueError(f"q and the bank differ in {name}: {tuple(query.shape)} and {tuple(bank_key.shape)}")


def _check_plan(inputs: AttentionInputs) -> None:
    query, plan = inputs.query, inputs.plan
    if len(plan) != query.shape[0]:
        raise ValueError(
            f"the plan has {len(plan)} rows but q has {query.shape[0]}; build it for this batch, or use "
            "plan.select(rows)"
        )
    if plan.device != query.device:
        raise ValueError(
            f"the plan is on {plan.device} but q on {query.device}; use plan.to({str(query.device)!r}) once"
        )
    entries = inputs.bank_key.shape[0]
    if plan.bank_size > entries:
        name = "batch" if inputs.bank_key is inputs.key else "bank"
        raise ValueError(
            f"the plan reads {name} entry {plan.bank_size - 1} but the {name} has {entries}: index out of the bank"
        )


def _check_mask(name: str, mask: Tensor | None, key: Tensor, query: Tensor) -> None:
    """A mask is of the keys alone, (rows, keys) bool, or has a query axis, and is bool or added to the logits."""
    if mask is None:
        return
    if not isinstance(mask, Tensor) or not (mask.dtype == torch.bool or (mask.ndim == 4 and mask.is_floating_point())):
        raise TypeError(
            f"{name} must be bool (True = may be attended to), got {getattr(mask, 'dtype', type(mask).__name__)}; "
            "what is added to the logits has four dimensions, (rows, heads or 1, queries or 1, keys)"
        )
    _check_dense(name, mask)
    rows, heads, queries, keys = key.shape[0], query.shape[1], query.shape[2], key.shape[2]
    if mask.ndim != 4 and tuple(mask.shape) != (rows, keys):
        raise ValueError(
            f"{name} must be {(rows, keys)}, or {(rows, heads, queries, keys)} with 1 for heads or queries that are "
            f"alike, got {tuple(mask.shape)}"
        )
    if mask.ndim == 4:
        _check_query_mask(name, mask, (rows, heads, queries, keys), query)
    if mask.device != query.device:
        raise ValueError(f"{name} is on {mask.device} but q on {query.device}; move it to {query.device}")


def _check_query_mask(name: str, mask: Tensor, shape: tuple[int, int, int, int], query: Tensor) -> None:
    fits = [size in (1, wanted) for size, wanted in zip(mask.shape[1:3], shape[1:3], strict=True)]
    if (mask.shape[0], mask.shape[3]) != (shape[0], shape[3]) or not all(fits):
        raise ValueError(f"{name} must be {shape}, with 1 for heads or queries that are alike, got {tuple(mask.shape)}")
    if mask.dtype not in (torch.bool, query.dtype):
        raise TypeError(f"q is {query.dtype} but {name}, which is added to its logits, {mask.dtype}; cast it")
    if mask.requires_grad and torch.is_grad_enabled():
        raise ValueError(f"{name} requires grad, and no gradient of a mask is computed; use {name}.detach()")

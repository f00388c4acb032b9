"""The two ops as torch sees them: schemas, fake kernels and gradients, so that compiled graphs stay whole.

Their arguments are the fields of `AttentionInputs`, then the implementation asked for, and whether autograd needs them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._library.autograd import make_autograd_impl
from torch._library.custom_ops import CustomOpDef
from torch.autograd.forward_ad import unpack_dual

from ..constants import MODES
from . import dispatch
from .gradients import attention_gradients
from .inputs import SCHEMA, AttentionInputs, flatten, requires_grad, unflatten
from .layout import empty_output

# of the package these files live in: two copies of it in one process, under two names, each call their own ops
NAMESPACE = __package__.rpartition(".")[0].replace(".", "__")


def call(mode: str, inputs: AttentionInputs, impl: str) -> Tensor:
    """Run one of the ops; `impl` as the public functions take it.

    Raises:
        ValueError: an unknown implementation, or a named one that cannot serve the inputs.
        NotImplementedError: forward-mode derivatives, which would come out as zero without a word.
    """
    dispatch.check_name(impl, "impl")
    if torch.compiler.is_compiling() or not dispatch.is_traced():
        return _OPS[mode](*flatten(inputs), impl, requires_grad(inputs))
    with dispatch.never_measured("the call is being traced"):
        return _OPS[mode](*flatten(inputs), impl, requires_grad(inputs))


def _without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """Autocast off for a tensor's device: it reaches into ops, whose math says its own precision."""
    device = tensor.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _define(mode: str) -> Callable[..., Tensor]:
    """Register `{NAMESPACE}::{mode}_attention` with its backward pass; returns the op."""
    schema = f"({SCHEMA}, str impl, bool needs_grad) -> Tensor"
    backward = _define_backward(mode)

    @torch.library.custom_op(f"{NAMESPACE}::{mode}_attention", mutates_args=(), schema=schema)
    def forward(*arguments: Any) -> Tensor:
        *fields, impl, needs_grad = arguments
        with _without_autocast(fields[0]):
            return dispatch.run(mode, unflatten(fields), impl, needs_grad)

    def save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, plan, fuse_self, scale, _, _ = inputs
        ctx.save_for_backward(*tensors, *plan, scale)
        ctx.num_tensors, ctx.fuse_self = len(tensors), fuse_self

    def differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        *saved, scale = ctx.saved_tensors
        tensors, plan = saved[: ctx.num_tensors], saved[ctx.num_tensors :]
        grads = backward(grad, *tensors, plan, ctx.fuse_self, scale)
        # two masks, the plan's tensors, fuse_self and scale, impl and needs_grad
        return *grads, None, None, [None] * len(plan), None, None, None, None

    forward.register_fake(lambda query, *rest: empty_output(query))
    forward.register_autograd(differentiate, setup_context=save)
    _refuse_forward_mode(forward)
    return forward


def _define_backward(mode: str) -> Callable[..., list[Tensor]]:
    """Register `{NAMESPACE}::{mode}_attention_backward`: gradients of the five tensors, in their order."""
    schema = f"(Tensor grad, {SCHEMA}) -> Tensor[]"

    @torch.library.custom_op(f"{NAMESPACE}::{mode}_attention_backward", mutates_args=(), schema=schema)
    def backward(grad: Tensor, *fields: Any) -> list[Tensor]:
        with _without_autocast(grad):
            return attention_gradients(mode, grad, unflatten(fields))

    @backward.register_fake
    def _(grad: Tensor, *fields: Any) -> list[Tensor]:
        return [torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device) for tensor in fields[:5]]

    _refuse_forward_mode(backward)
    return backward


def _refuse_forward_mode(op: CustomOpDef) -> None:
    """Make `op` raise on inputs with a tangent, whose derivative torch would take for zero.

    The kernel of the dispatch key "Autograd" alone sees tangents, in eager and compiled calls and at every level of
    `torch.func`; the check stands in front of it.
    """
    kernel = make_autograd_impl(op._opoverload, op)
    names = [argument.name for argument in op._opoverload._schema.arguments]

    def checked(keyset: Any, *arguments: Any, **options: Any) -> Any:
        # tensors of the plan are never differentiated
        tensors = [(name, part) for name, part in zip(names, arguments, strict=False) if isinstance(part, Tensor)]
        dual = [name for name, tensor in tensors if unpack_dual(tensor).tangent is not None]
        if dual:
            raise NotImplementedError(
                f"{op._qualname} has no forward-mode derivative (torch.func.jvp, jacfwd, linearize, dual tensors), got "
                f"a tangent of {', '.join(dual)}; use reverse mode: torch.func.vjp, torch.autograd.grad or backward()"
            )
        return kernel(keyset, *arguments, **options)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*[Oo]verriding a previously registered kernel", UserWarning)
        op._lib.impl(op._name, checked, "Autograd", with_keyset=True, allow_override=True)


_OPS = {mode: _define(mode) for mode in MODES}

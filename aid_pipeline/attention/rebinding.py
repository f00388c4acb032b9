"""Rebound processors: diffusers' own, with interpolated attention inside and without a copied line of them.

Every stock processor ends in one of two primitives, `F.scaled_dot_product_attention` or `dispatch_attention_fn`. They
are not swapped for the process while a denoiser runs: that would reach every other model and thread in it (a second
pipeline, a text encoder, a ControlNet), would be undone by whoever swaps them next, and would make `torch.compile`
trace every layer again. Only the processors of one denoiser see other primitives.

A rebound processor is an instance of a dynamic subclass of the installed processor's class; it shares the installed
one's state (`__dict__`), and those of its methods that reach a primitive run the very same code objects with other
*globals*: a copy of their module's, in which the primitive is a stand-in (`primitives.py`). Projections, masks, rotary
positions, norms, LoRA, fused projections and IP-Adapter branches thus stay diffusers' own, in every version of it.

This leans on CPython: `types.FunctionType(code, globals, ...)`, and code objects that name the globals they read. It
can break when a processor reaches the primitive by a way that names do not show; that is found at apply, which refuses
a class without a visible primitive, or by the oracle test that every supported family has. The copied globals are the
`__dict__` of a module registered in `sys.modules`, since `torch.compile` looks globals up there. One class per
processor class and denoiser, kept on the denoiser: a class per apply would make compiled graphs pile up.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any

from torch import nn

from ..errors import UnsupportedPipelineError
from .function_copies import FunctionCopier
from .kv_bank import LayerCache
from .primitives import PRIMITIVES, interpolated_primitives
from .state import DenoiserState

LAYER_SLOT = "aid_layer"

SIGNS_OF_SOFTMAX = ("softmax", "attention", "attn", "fmha", "baddbmm")
"""Parts of names that attention with a softmax of its own, or of another library's (`sageattn`, ...), calls."""


def rebind(processor: Any, state: DenoiserState, layer: LayerCache, linear_cross: bool, denoiser: nn.Module) -> Any:
    """A processor that does what `processor` does, with attention as `state` says. The original is not touched.

    Args:
        processor: the installed processor; its state is shared, so that scales set meanwhile apply to both.
        state: of the denoiser.
        layer: whose bank and report the processor fills.
        linear_cross: text cross-attention whose keys and values are linear in the embeddings.
        denoiser: the copied modules are forgotten when it is.

    Raises:
        UnsupportedPipelineError: the class does not visibly call a primitive (xFormers, sliced, linear, explicit
            softmax).
    """
    cls = type(processor)
    role = (cls, linear_cross)
    if role not in state.rebound:
        state.rebound[role] = _rebound_class(cls, state, linear_cross, denoiser)
    rebound: Any = object.__new__(state.rebound[role])
    rebound.__dict__ = processor.__dict__
    setattr(rebound, LAYER_SLOT, layer)
    return rebound


def advice(processor_class: type) -> str:
    """What to do about a processor without a primitive: the class of diffusers that takes its place, if any."""
    from diffusers.models import attention_processor

    plain = processor_class.__name__.removeprefix("XFormers").removeprefix("Sliced").removesuffix("2_0")
    if hasattr(attention_processor, f"{plain}2_0") and plain + "2_0" != processor_class.__name__:
        return (
            f"set diffusers' {plain}2_0 first: denoiser.set_attn_processor({plain}2_0()), on the pipeline's unet or "
            "transformer"
        )
    return "diffusers has no other processor for it: load the pipeline again, or use a model without linear attention"


def has_softmax(processor_class: type) -> bool:
    """Whether a processor without a primitive shows that it computes a softmax, by itself or by another library.

    Linear attention does not: nothing in it is interpolated, and it stays as it is. A doubtful one counts as a softmax,
    and is refused.
    """
    names = {name for _, function in _methods(processor_class) for name in function.__code__.co_names}
    return any(sign in name.lower() for name in names for sign in SIGNS_OF_SOFTMAX)


def has_primitive(processor_class: type, denoiser: nn.Module) -> bool:
    """Whether a processor's class visibly calls a primitive."""
    copier = FunctionCopier(interpolated_primitives(DenoiserState(), False), denoiser)
    return any(copier.reaches_primitive(function) for _, function in _methods(processor_class))


def is_rebound(processor: Any) -> bool:
    """Whether a processor is a rebound one."""
    return hasattr(type(processor), LAYER_SLOT)


def _rebound_class(cls: type, state: DenoiserState, linear_cross: bool, denoiser: nn.Module) -> type:
    copier = FunctionCopier(interpolated_primitives(state, linear_cross), denoiser)
    methods: dict[str, Any] = {}
    for name, function in _methods(cls):
        _refuse_super(cls, name, function, copier)
        if copier.reaches_primitive(function):
            methods[name] = copier.copy(function)
    if not methods:
        raise UnsupportedPipelineError(
            f"{cls.__name__} does not call {' or '.join(PRIMITIVES)}, so its attention cannot be interpolated; "
            f"{advice(cls)}"
        )
    call = methods.get("__call__", cls.__call__)

    @functools.wraps(call)  # attention modules read the signature to see which arguments they may pass
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        if state.current is not None:
            state.enter(self.aid_layer)
        return call(self, *args, **kwargs)

    # a slot, not an attribute: the instances share their __dict__ with the originals, one of which may serve many
    # layers
    namespace = methods | {
        "__call__": __call__,
        "__slots__": (LAYER_SLOT,),
        "__module__": __name__,
        "__qualname__": cls.__qualname__,
    }
    return type(cls.__name__, (cls,), namespace)


def _methods(cls: type) -> Iterator[tuple[str, types.FunctionType]]:
    """Python functions that instances of a class find by name, without those of `nn.Module`."""
    seen = set()
    for base in cls.__mro__:
        if base in (nn.Module, object):
            continue
        for name, value in vars(base).items():
            if name not in seen and isinstance(value, types.FunctionType):
                yield name, value
            seen.add(name)


def _refuse_super(cls: type, name: str, function: types.FunctionType, copier: FunctionCopier) -> None:
    """`super()` inside a copied method finds the parents' originals, which would stay stock unnoticed."""
    if "super" not in function.__code__.co_names:
        return
    for base in cls.__mro__[1:]:
        inherited = vars(base).get(name)
        if isinstance(inherited, types.FunctionType) and copier.reaches_primitive(inherited):
            raise UnsupportedPipelineError(
                f"{cls.__name__}.{name} reaches attention by super(), which cannot be interpolated"
            )

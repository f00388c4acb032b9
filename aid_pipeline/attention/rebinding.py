"""Interpolated attention inside diffusers' own processors, without a copied line of them.

Every stock processor ends in one of two primitives, `F.scaled_dot_product_attention` or `dispatch_attention_fn`. A
rebound processor is an instance of a dynamic subclass of the installed processor's class; it shares the installed
one's state (`__dict__`), and those of its methods that reach a primitive run the very same code objects with other
*globals*: a copy of their module's, in which the primitive is ours. Projections, masks, rotary positions, norms, LoRA,
fused projections and IP-Adapter branches thus stay diffusers' own, in every version of it.

This leans on CPython: `types.FunctionType(code, globals, ...)`, and code objects that name the globals they read. It
can break when a processor reaches the primitive by a way that names do not show; that is found at apply, which refuses
a class without a visible primitive, or by the oracle test that every supported family has. The copied globals are the
`__dict__` of a module registered in `sys.modules`, since `torch.compile` looks globals up there. One class per
processor class and denoiser, kept on the denoiser: a class per apply would make compiled graphs pile up.
"""

from __future__ import annotations

import functools
import itertools
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import Tensor, nn

from ..errors import UnsupportedPipelineError
from .kv_bank import Layer
from .state import DenoiserState, refuse_unsupported

PRIMITIVES = ("scaled_dot_product_attention", "dispatch_attention_fn")
LAYER_SLOT = "aid_layer"

_serial = itertools.count()


def rebind(processor: Any, state: DenoiserState, layer: Layer, linear_cross: bool, denoiser: nn.Module) -> Any:
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


def is_rebound(processor: Any) -> bool:
    """Whether a processor is one of ours."""
    return hasattr(type(processor), LAYER_SLOT)


def _rebound_class(cls: type, state: DenoiserState, linear_cross: bool, denoiser: nn.Module) -> type:
    copier = _Copier(_ours(state, linear_cross), denoiser)
    methods: dict[str, Any] = {}
    for name, function in _methods(cls):
        _refuse_super(cls, name, function, copier)
        if copier.reaches_primitive(function):
            methods[name] = copier.copy(function)
    if not methods:
        raise UnsupportedPipelineError(
            f"{cls.__name__} does not call {' or '.join(PRIMITIVES)}, so its attention cannot be interpolated; switch "
            "to the default processors first (no xFormers, no attention slicing, no linear attention)"
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


def _refuse_super(cls: type, name: str, function: types.FunctionType, copier: _Copier) -> None:
    """`super()` inside a copied method finds the parents' originals, which would stay stock unnoticed."""
    if "super" not in function.__code__.co_names:
        return
    for base in cls.__mro__[1:]:
        inherited = vars(base).get(name)
        if isinstance(inherited, types.FunctionType) and copier.reaches_primitive(inherited):
            raise UnsupportedPipelineError(
                f"{cls.__name__}.{name} reaches attention by super(), which cannot be interpolated"
            )


class _Copier:
    """Copies functions so that they and the helpers they call see our primitives."""

    def __init__(self, ours: dict[str, Callable[..., Tensor]], denoiser: nn.Module) -> None:
        self._ours = ours
        self._denoiser = denoiser
        self._modules: dict[int, types.ModuleType] = {}
        self._copies: dict[types.FunctionType, types.FunctionType] = {}
        self._reaching: dict[types.FunctionType, bool] = {}

    def reaches_primitive(self, function: types.FunctionType) -> bool:
        """Whether a function, or a helper it calls, names a primitive. Torch's own functions are not looked into."""
        if function not in self._reaching:
            self._reaching[function] = False  # while it is being found out: helpers may call each other
            self._reaching[function] = bool(self._primitives(function) or self._helpers(function))
        return self._reaching[function]

    def copy(self, function: types.FunctionType) -> types.FunctionType:
        """The same code with globals in which the primitives are ours."""
        if function in self._copies:
            return self._copies[function]
        module = self._module(function)
        made = types.FunctionType(
            function.__code__, module.__dict__, function.__name__, function.__defaults__, function.__closure__
        )
        made.__kwdefaults__ = function.__kwdefaults__
        made.__annotations__ = function.__annotations__
        made.__qualname__ = function.__qualname__
        self._copies[function] = made
        module.__dict__.update(self._primitives(function))
        module.__dict__.update({name: self.copy(helper) for name, helper in self._helpers(function).items()})
        return made

    def _primitives(self, function: types.FunctionType) -> dict[str, Any]:
        """Ours for every global by which a function reaches a primitive itself."""
        found: dict[str, Any] = {}
        for name, value, names in _globals_read(function):
            if value is dispatch_attention_fn:
                found[name] = self._ours["dispatch_attention_fn"]
            elif value is F.scaled_dot_product_attention:
                found[name] = self._ours["scaled_dot_product_attention"]
            elif value is F and "scaled_dot_product_attention" in names:
                found[name] = self._functional()
            elif value in (torch, nn) and {"functional", "scaled_dot_product_attention"} <= names:
                raise UnsupportedPipelineError(
                    f"{function.__qualname__} spells {name}...scaled_dot_product_attention in full, which cannot be "
                    "replaced; import torch.nn.functional as F there"
                )
        return found

    def _helpers(self, function: types.FunctionType) -> dict[str, types.FunctionType]:
        """The functions it calls that reach a primitive."""
        found = {}
        for name, value, _ in _globals_read(function):
            stock = value is dispatch_attention_fn or value is F.scaled_dot_product_attention
            if stock or not isinstance(value, types.FunctionType) or value.__module__.startswith("torch."):
                continue
            if self.reaches_primitive(value):
                found[name] = value
        return found

    def _functional(self) -> types.ModuleType:
        """`torch.nn.functional` with our attention in it."""
        if id(F) not in self._modules:
            self._modules[id(F)] = self._register(vars(F))
            self._modules[id(F)].__dict__["scaled_dot_product_attention"] = self._ours["scaled_dot_product_attention"]
        return self._modules[id(F)]

    def _module(self, function: types.FunctionType) -> types.ModuleType:
        """The one copy of the module that a function lives in."""
        key = id(function.__globals__)
        if key not in self._modules:
            self._modules[key] = self._register(function.__globals__)
        return self._modules[key]

    def _register(self, names: dict[str, Any]) -> types.ModuleType:
        """A module of these names that imports find, as long as the denoiser lives."""
        module = types.ModuleType(f"{__package__}._rebound_{next(_serial)}")
        module.__dict__.update(names | {"__name__": module.__name__})
        sys.modules[module.__name__] = module
        weakref.finalize(self._denoiser, sys.modules.pop, module.__name__, None)
        return module


def _globals_read(function: types.FunctionType) -> Iterator[tuple[str, Any, set[str]]]:
    """Name and value of every global that a function may read, with all the names in its code."""
    names = set(_names(function.__code__))
    for name in sorted(names & function.__globals__.keys()):
        yield name, function.__globals__[name], names


def _names(code: types.CodeType) -> Iterator[str]:
    """Every global or attribute that a code object and the functions inside it name."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _ours(state: DenoiserState, linear_cross: bool) -> dict[str, Callable[..., Tensor]]:
    """Our two primitives, with the stock signatures, for layers of one role."""

    def scaled_dot_product_attention(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        current = state.current
        if current is not None and not (linear_cross and current.skips_linear_cross and attn_mask is None):
            refuse_unsupported(dropout_p, is_causal, enable_gqa, {})
            out = state.attend(query, key, value, attn_mask, scale)
            if out is not None:
                return out
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )

    def dispatch(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
        attention_kwargs: dict[str, Any] | None = None,
        *,
        backend: Any = None,
        parallel_config: Any = None,
    ) -> Tensor:
        """Takes and returns (B, S, H, D)."""
        if state.current is not None:
            refuse_unsupported(
                dropout_p,
                is_causal,
                enable_gqa,
                {"attention_kwargs": attention_kwargs, "parallel_config": parallel_config},
            )
            mask = attn_mask
            if mask is not None and tuple(mask.shape) == (query.shape[0], key.shape[1]):
                mask = mask[:, None, None]  # as diffusers' native backend reads it
            out = state.attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), mask, scale)
            if out is not None:
                return out.transpose(1, 2)
        return dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask,
            dropout_p,
            is_causal,
            scale,
            enable_gqa,
            attention_kwargs,
            backend=backend,
            parallel_config=parallel_config,
        )

    return {"scaled_dot_product_attention": scaled_dot_product_attention, "dispatch_attention_fn": dispatch}

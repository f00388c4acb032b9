"""Finder and copier of functions that reach an attention primitive, directly or through helpers.

A copy runs the very same code object with other globals: those of its module, in which the primitive is another.
"""

from __future__ import annotations

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

_serial = itertools.count()


class FunctionCopier:
    """Finds the functions that reach a primitive, and copies them so that they and their helpers reach another.

    Args:
        replacements: for each primitive, by its name.
        denoiser: the copied modules are forgotten when it is.
    """

    def __init__(self, replacements: dict[str, Callable[..., Tensor]], denoiser: nn.Module) -> None:
        self._replacements = replacements
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
        """The same code with globals in which the primitives are the replacements."""
        if function in self._copies:
            return self._copies[function]
        module = self._module(function)
        copied = types.FunctionType(
            function.__code__, module.__dict__, function.__name__, function.__defaults__, function.__closure__
        )
        copied.__kwdefaults__ = function.__kwdefaults__
        copied.__annotations__ = function.__annotations__
        copied.__qualname__ = function.__qualname__
        self._copies[function] = copied
        module.__dict__.update(self._primitives(function))
        module.__dict__.update({name: self.copy(helper) for name, helper in self._helpers(function).items()})
        return copied

    def _primitives(self, function: types.FunctionType) -> dict[str, Any]:
        """Replacements for the globals by which a function reaches a primitive itself."""
        found: dict[str, Any] = {}
        for name, value, names in _globals_read(function):
            if value is dispatch_attention_fn:
                found[name] = self._replacements["dispatch_attention_fn"]
            elif value is F.scaled_dot_product_attention:
                found[name] = self._replacements["scaled_dot_product_attention"]
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
        """`torch.nn.functional` with the replacement in it."""
        if id(F) not in self._modules:
            name = "scaled_dot_product_attention"
            self._modules[id(F)] = self._register(vars(F))
            self._modules[id(F)].__dict__[name] = self._replacements[name]
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

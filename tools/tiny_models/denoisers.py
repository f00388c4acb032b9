"""Tiny models of diffusers classes: their signatures with every size made small."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from .by_model import BY_CLASS
from .sizes import ROTARY, SIZES, rotary


def arguments(model: Any) -> dict[str, Any]:
    """Small values for what the signature of a model's `__init__` names; the rest keeps its default."""
    own = BY_CLASS.get(model.__name__, {})
    small: dict[str, Any] = {}
    for name, parameter in inspect.signature(model.__init__).parameters.items():
        if name in own or name == "self":
            continue
        default = parameter.default
        if name in ROTARY and isinstance(default, list | tuple):
            small[name] = rotary(default)
        elif name in SIZES and default is not None:
            small[name] = _as_many(SIZES[name], default)
    return small | own


def _as_many(size: Any, default: Any) -> Any:
    """A size for each of the default's, where that is several."""
    if not isinstance(default, list | tuple):
        return size[-1] if isinstance(size, tuple) else size
    sizes = size if isinstance(size, tuple) else (size,)
    return type(default)([*sizes[:1] * (len(default) - 1), sizes[-1]])


def tiny(model: Any, **more: Any) -> nn.Module:
    """A tiny model of a diffusers class whose attention shows in what it returns.

    Args:
        more: arguments that the pipeline around it decides.
    """
    taken = inspect.signature(model.__init__).parameters
    made = model(**arguments(model) | {name: value for name, value in more.items() if name in taken})
    return sharpen(fill_zeros(made))


def fill_zeros(model: nn.Module) -> nn.Module:
    """Gates and last layers that start at zero filled: with them nothing of attention reaches the output."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.normal_(std=0.1)
    return model


def sharpen(model: nn.Module, logit_scale: float = 2.0) -> nn.Module:
    """Query and key projections scaled up, so that the softmax has peaks and a wrong source shows in the frames."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("to_q.weight", "to_k.weight", "add_q_proj.weight", "add_k_proj.weight")):
                parameter.mul_(logit_scale)
    return model

"""Values that callers hand over, as numbers on the host, whatever torch's default dtype and default device are."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual


def as_tensor(values: Any, name: str) -> Tensor:
    """A tensor as it is, else one on the CPU: arrays keep their dtype, Python's floats are rounded to float32.

    Raises:
        TypeError: not numbers, or bools.
        ValueError: ragged, too large, sparse, nested, or without data ("meta").
        NotImplementedError: `values` has a forward-mode tangent, which a plan would drop.
    """
    tensor = values if isinstance(values, Tensor) else _from_python(values, name)
    if tensor.dtype == torch.bool or tensor.dtype.is_complex:
        raise TypeError(f"{name} must be real numbers, got {tensor.dtype}: {reprlib.repr(values)}")
    if tensor.layout != torch.strided or tensor.is_nested:
        raise ValueError(f"{name} must be a dense tensor, got layout {tensor.layout}; call .to_dense() or pad it")
    if tensor.is_meta:
        raise ValueError(f"{name} are on the meta device, which holds no values; pass them on the CPU")
    if unpack_dual(tensor).tangent is not None:
        raise NotImplementedError(f"{name} have a forward-mode tangent, but a plan has no derivative; detach them")
    return tensor


def floats(values: Any, name: str) -> Tensor:
    """float64 on the CPU; errors as `as_tensor`."""
    return as_tensor(values, name).detach().to("cpu", torch.float64)


def integer(value: Any, name: str) -> int:
    """A whole number of an integer type.

    Raises:
        TypeError: a bool, a float, a string, or anything else that is no integer.
    """
    truth = isinstance(value, bool) or (isinstance(value, Tensor) and value.dtype == torch.bool)
    try:
        if not truth:
            return operator.index(value)
    except (TypeError, RuntimeError):
        pass
    raise TypeError(f"{name} must be an integer, got {reprlib.repr(value)}")


def integers(values: Any, name: str) -> list[int]:
    """Whole numbers of a list, range, array or (n,) tensor.

    Raises:
        TypeError: a single value, a string, or an element that is no integer; a mask among them.
    """
    if isinstance(values, Tensor) and values.dtype == torch.bool:
        raise TypeError(f"{name} must be integers, got a mask: {reprlib.repr(values)}; use mask.nonzero().flatten()")
    single = isinstance(values, Tensor) and values.ndim != 1
    if single or isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of integers, got {reprlib.repr(values)}")
    return [integer(value, f"every element of {name}") for value in values]


def indices(rows: Any, count: int) -> list[int]:
    """Indices into `count` rows, from a slice or a list; they may be out of range. Errors as `integers`."""
    if not isinstance(rows, slice):
        return integers(rows, "rows")
    try:
        return list(range(count)[rows])
    except (TypeError, ValueError) as error:
        raise type(error)(f"rows must be a slice of integers with a step other than 0, got {rows}") from error


def device_of(device: Any) -> torch.device:
    """The device that `device` names.

    Raises:
        TypeError: neither a torch.device nor a string or index.
        ValueError: torch knows no such device, or has none here.
    """
    if isinstance(device, bool) or not isinstance(device, torch.device | str | int):
        raise TypeError(f"device must be a torch.device or a string such as 'cpu' or 'cuda:0', got {device!r}")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {device!r} is not to be had; 'cpu' or 'cuda:0' are examples: {reason}") from error
    return found


def _from_python(values: Any, name: str) -> Tensor:
    if isinstance(values, str | bytes) or values is None:
        raise TypeError(f"{name} must be numbers, got {values!r}")
    try:
        tensor = torch.as_tensor(values, device="cpu")
        if tensor.is_floating_point() and not hasattr(values, "dtype"):
            # Python's floats, which torch has rounded to its default dtype
            return torch.as_tensor(values, dtype=torch.float32, device="cpu")
        return tensor
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be an even grid of numbers, got {reprlib.repr(values)}: {error}") from error
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{name} must be numbers, got {reprlib.repr(values)}: {error}") from error

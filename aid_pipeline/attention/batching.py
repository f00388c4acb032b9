"""Tensors of a denoiser call, split into rows and joined again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import AIDError
from ..families import POSITION_ARGUMENTS, ROW_AXIS
from .row_groups import repeats_of


@dataclass(frozen=True)
class DenoiserCall:
    """Arguments of one denoiser call.

    Args:
        names: of the forward's parameters, in order; the first is the sample.
        args, kwargs: as the pipeline passed them.
    """

    names: tuple[str, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def named(self) -> dict[str, Any]:
        """Every argument by name."""
        return dict(zip(self.names, self.args, strict=False)) | self.kwargs

    @property
    def samples(self) -> Tensor | list[Tensor]:
        """The noisy latents, a row per image, or a list of one tensor per image."""
        samples: Tensor | list[Tensor] = self.args[0] if self.args else self.kwargs[self.names[0]]
        return samples

    @property
    def sample(self) -> Tensor:
        """The noisy latents; of a list, the first image's."""
        return self.samples if isinstance(self.samples, Tensor) else self.samples[0]

    @property
    def in_lists(self) -> bool:
        """Whether images are entries of lists, not rows of tensors."""
        return not isinstance(self.samples, Tensor)

    @property
    def batch(self) -> int:
        """How many rows it has."""
        return len(self.samples)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.sample.device

    def take(self, rows: Tensor | slice) -> DenoiserCall:
        """The call for some of its rows."""
        named = zip(self.names, self.args, strict=False)
        args = tuple(take_rows(value, rows, self.batch, name, self.in_lists) for name, value in named)
        kwargs = take_rows(self.kwargs, rows, self.batch, in_lists=self.in_lists)
        return dataclasses.replace(self, args=args, kwargs=kwargs)

    def with_entry(self, argument: str, entry: str, value: Any) -> DenoiserCall:
        """The call with an entry set in a dictionary among its arguments; the caller's dictionary stays as it is."""
        return self.with_value(argument, (self.named().get(argument) or {}) | {entry: value})

    def with_value(self, argument: str, value: Any) -> DenoiserCall:
        """The call with another value of an argument."""
        place = self.names.index(argument)
        if place < len(self.args):
            return dataclasses.replace(self, args=(*self.args[:place], value, *self.args[place + 1 :]))
        return dataclasses.replace(self, kwargs=self.kwargs | {argument: value})


def take_rows(value: Any, rows: Tensor | slice, batch: int, name: str = "", in_lists: bool = False) -> Any:
    """The same nested arguments with `rows` of every tensor whose first dimension is the batch; the rest as it is.

    Args:
        name: of the argument.
        in_lists: rows are entries of lists, too.
    """
    if name in POSITION_ARGUMENTS:
        return value
    if isinstance(value, Tensor):
        axis = ROW_AXIS.get(name, 0)
        if axis == 0 and (repeats := repeats_of(name, value, batch)) > 1:
            return take_rows(value.unflatten(0, (batch, repeats)), rows, batch).flatten(0, 1)
        if value.ndim <= axis or value.shape[axis] != batch:
            return value
        if isinstance(rows, slice):
            return value.movedim(axis, 0)[rows].movedim(0, axis)
        return value.index_select(axis, rows.to(value.device))
    if isinstance(value, dict):
        return {key: take_rows(item, rows, batch, str(key), in_lists) for key, item in value.items()}
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        if in_lists and len(value) == batch:
            return [value[row] for row in range(batch)[rows]] if isinstance(rows, slice) else _picked(value, rows)
        return type(value)(take_rows(item, rows, batch, name, in_lists) for item in value)
    return value


def _picked(values: Sequence[Any], rows: Tensor) -> list[Any]:
    return [values[row] for row in rows.tolist()]


def join_outputs(outputs: Sequence[Any], order: Tensor | None) -> Any:
    """One output of the chunks' outputs: tensors, lists of a tensor per row, tuples or diffusers' output classes.

    Args:
        outputs: of the chunks, in the order in which they ran.
        order: puts their rows back into the call's order; None means that they are in it.
    """
    first = outputs[0]
    if isinstance(first, list):
        entries = [entry for output in outputs for entry in output]
        return entries if order is None else _picked(entries, order)
    if isinstance(first, Tensor):
        joined = torch.cat(list(outputs))
        return joined if order is None else joined.index_select(0, order.to(joined.device))
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in dataclasses.fields(first)]
        return type(first)(
            **{name: join_outputs([getattr(output, name) for output in outputs], order) for name in names}
        )
    if isinstance(first, tuple):
        return type(first)(join_outputs(parts, order) for parts in zip(*outputs, strict=True))
    if first is None:
        return None
    raise AIDError(
        f"the denoiser returned a {type(first).__name__}, which runs in chunks cannot be joined; use chunk=None"
    )


def take_output_rows(output: Any, rows: Sequence[int]) -> Any:
    """These rows of a denoiser's output (a tensor, a list of a tensor per row, a tuple or diffusers' output class), in
    a copy of their own."""
    if isinstance(output, list):
        return [output[row].clone() for row in rows]
    if isinstance(output, Tensor):
        return output.index_select(0, torch.tensor(rows, device=output.device))
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        names = [field.name for field in dataclasses.fields(output)]
        return type(output)(**{name: take_output_rows(getattr(output, name), rows) for name in names})
    if isinstance(output, tuple):
        return type(output)(take_output_rows(part, rows) for part in output)
    return output

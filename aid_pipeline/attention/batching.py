"""Tensors of a denoiser call, split into rows and joined again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import AIDError
from ..families import POSITION_ARGUMENTS
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
    def sample(self) -> Tensor:
        """The noisy latents, a row per image."""
        sample: Tensor = self.args[0] if self.args else self.kwargs[self.names[0]]
        return sample

    @property
    def batch(self) -> int:
        """How many rows it has."""
        return self.sample.shape[0]

    def take(self, rows: Tensor | slice) -> DenoiserCall:
        """The call for some of its rows."""
        args = tuple(
            take_rows(value, rows, self.batch, name) for name, value in zip(self.names, self.args, strict=False)
        )
        return dataclasses.replace(self, args=args, kwargs=take_rows(self.kwargs, rows, self.batch))

    def with_entry(self, argument: str, entry: str, value: Any) -> DenoiserCall:
        """The call with an entry set in a dictionary among its arguments; the caller's dictionary stays as it is."""
        place = self.names.index(argument)
        if place < len(self.args):
            changed = (self.args[place] or {}) | {entry: value}
            return dataclasses.replace(self, args=(*self.args[:place], changed, *self.args[place + 1 :]))
        changed = (self.kwargs.get(argument) or {}) | {entry: value}
        return dataclasses.replace(self, kwargs=self.kwargs | {argument: changed})


def take_rows(value: Any, rows: Tensor | slice, batch: int, name: str = "") -> Any:
    """The same nested arguments with `rows` of every tensor whose first dimension is the batch; the rest as it is."""
    if name in POSITION_ARGUMENTS:
        return value
    if isinstance(value, Tensor):
        if (repeats := repeats_of(name, value, batch)) > 1:
            return take_rows(value.unflatten(0, (batch, repeats)), rows, batch).flatten(0, 1)
        if value.ndim == 0 or value.shape[0] != batch:
            return value
        return value[rows] if isinstance(rows, slice) else value.index_select(0, rows.to(value.device))
    if isinstance(value, dict):
        return {key: take_rows(item, rows, batch, str(key)) for key, item in value.items()}
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        return type(value)(take_rows(item, rows, batch, name) for item in value)
    return value


def join_outputs(outputs: Sequence[Any], order: Tensor | None) -> Any:
    """One output of the chunks' outputs: tensors, tuples or diffusers' output classes.

    Args:
        outputs: of the chunks, in the order in which they ran.
        order: puts their rows back into the call's order; None means that they are in it.
    """
    first = outputs[0]
    if isinstance(first, Tensor):
        joined = torch.cat(list(outputs))
        return joined if order is None else joined.index_select(0, order.to(joined.device))
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in dataclasses.fields(first)]
        return type(first)(
            **{name: join_outputs([getattr(output, name) for output in outputs], order) for name in names}
        )
    if isinstance(first, tuple | list):
        return type(first)(join_outputs(parts, order) for parts in zip(*outputs, strict=True))
    if first is None:
        return None
    raise AIDError(
        f"the denoiser returned a {type(first).__name__}, which runs in chunks cannot be joined; use chunk=None"
    )


def take_output_rows(output: Any, rows: Sequence[int]) -> Any:
    """These rows of a denoiser's output (a tensor, a tuple or diffusers' output class), in a copy of their own."""
    if isinstance(output, Tensor):
        return output.index_select(0, torch.tensor(rows, device=output.device))
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        names = [field.name for field in dataclasses.fields(output)]
        return type(output)(**{name: take_output_rows(getattr(output, name), rows) for name in names})
    if isinstance(output, tuple | list):
        return type(output)(take_output_rows(part, rows) for part in output)
    return output

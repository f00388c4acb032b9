"""Mix of what a text encoder returns: a row for every frame, from what it returns for the endpoints and guides.

Works by shape: what grows with the number of prompts has a row for each, on whatever axis, or in a list; the rest is
shared by all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import UnsupportedPipelineError


@dataclass(frozen=True)
class TextShares:
    """Which of the encoded texts each frame has.

    Args:
        coefficients: t of each frame.
        first, last: places of the endpoints' among the encoded texts.
        guides: by frame, the place of its guide.
        same_negative: places of the texts with the first endpoint's negative prompt; values that are equal in all of
            them do not depend on the prompt.
        prompts: t of the prompt of each frame, where it is not the frame's own (a prompt that switches between steps).
    """

    coefficients: tuple[float, ...]
    first: int
    last: int
    guides: Mapping[int, int]
    same_negative: tuple[int, ...]
    prompts: tuple[float, ...] | None = None


@dataclass(frozen=True)
class FrameRows:
    """One value of the encoder with a row for every frame; the rows are computed anew whenever they are asked for.

    Args:
        alone: the value for each encoded text, (1, ...), or (tokens, ...) where the encoder returns a list of them.
        shares: of the frames.
        in_list: the encoder returns a list.
    """

    alone: Sequence[Tensor]
    shares: TextShares
    in_list: bool = False

    @property
    def of_prompt(self) -> bool:
        """Whether it depends on the prompt, not on the negative prompt alone."""
        return any(not _equal(self.alone[place], self.alone[0]) for place in self.shares.same_negative)

    @property
    def has_tokens(self) -> bool:
        """Whether a row is an embedding (tokens, channels, ...)."""
        row = self.alone[0]
        return row.is_floating_point() and row.ndim >= (2 if self.in_list else 3)

    def rows(self, coefficients: Sequence[float] | None = None) -> Tensor | list[Tensor]:
        """All frames' rows, (m, ...) or a list of m.

        Args:
            coefficients: other shares of the endpoints than the frames' own.
        """
        shares, of_prompt = self.shares, self.of_prompt
        t = coefficients or (shares.prompts if of_prompt and shares.prompts else shares.coefficients)
        first, last = self.alone[shares.first], self.alone[shares.last]
        rows = [between(first, last, share) for share in t]
        if of_prompt and coefficients is None:  # else a negative prompt's, which has no guide
            for frame, place in shares.guides.items():
                rows[frame] = self.alone[place]
        if self.in_list:
            return rows
        if not of_prompt and all(row is first or torch.equal(row, first) for row in rows):
            return first.expand(len(rows), *first.shape[1:])  # takes the memory of one
        return torch.cat(rows)


class Mixer:
    """Puts an encoder's values for several texts together to one with a row for every frame.

    Args:
        shares: of the frames.

    Attributes:
        made: what has a row for every frame, in the order in which the encoder returns it.
    """

    def __init__(self, shares: TextShares) -> None:
        self._shares = shares
        self.made: list[FrameRows] = []

    def mix(self, alone: Sequence[Any], together: Any, count: int) -> Any:
        """The encoder's value with a row for every frame.

        Args:
            alone: the value for each text encoded alone.
            together: for `count` texts in one call, which tells by its shape what belongs to a prompt.

        Raises:
            UnsupportedPipelineError: rows that cannot be told apart.
        """
        if isinstance(together, Tensor):
            return self._tensor(alone, together, count)
        if isinstance(together, list) and len(together) == count and all(len(value) == 1 for value in alone):
            if not all(isinstance(value[0], Tensor) for value in alone):
                raise UnsupportedPipelineError(f"the encoder returns a {type(together[0]).__name__} for every prompt")
            return self._made(FrameRows([value[0] for value in alone], self._shares, in_list=True))
        if isinstance(together, list | tuple):
            parts = [self.mix([values[i] for values in alone], part, count) for i, part in enumerate(together)]
            return type(together)(parts)
        if isinstance(together, dict):
            return {key: self.mix([values[key] for values in alone], part, count) for key, part in together.items()}
        return together

    def _made(self, rows: FrameRows) -> Any:
        self.made.append(rows)
        return rows.rows()

    def _tensor(self, alone: Sequence[Tensor], together: Tensor, count: int) -> Tensor:
        single = alone[0]
        if not all(isinstance(value, Tensor) for value in alone):  # a mask that is left out where it hides nothing
            single, alone = together[: len(together) // count], together.split(len(together) // count)
        if together.ndim == 0 or any(value.shape == together.shape for value in alone):
            return together  # shared by all prompts
        if _are_lengths(single, together, count):
            return self._lengths(alone)
        axis = _row_axis(single, together, count)
        if axis is None:
            raise UnsupportedPipelineError(
                f"the encoder returns {tuple(together.shape)} for {count} prompts and {tuple(single.shape)} for one: "
                "its rows are not the prompts'"
            )
        moved = together.movedim(axis, 0)
        values = [value.movedim(axis, 0) for value in alone]
        blocks = len(moved) // count  # such as a negative prompt's rows before a prompt's
        whole = all(value.shape[1:] == moved.shape[1:] for value in values)
        made = []
        for block in range(blocks):
            rows = [value[block : block + 1] for value in values]
            if not whole:  # as long as the pipeline itself pads them
                rows = list(moved[block * count :][:count].split(1))
            made.append(self._made(FrameRows(rows, self._shares)))
        return (made[0] if blocks == 1 else torch.cat(made)).movedim(0, axis)

    def _lengths(self, alone: Sequence[Tensor]) -> Tensor:
        """Cumulative lengths of packed texts; a frame between two is as long as the longer one."""
        rows = FrameRows([value.diff() for value in alone], self._shares).rows()
        assert isinstance(rows, Tensor)
        return torch.cat([alone[0][:1], rows.cumsum(0).to(alone[0].dtype)])


def between(first: Tensor, last: Tensor, t: float) -> Tensor:
    """Lerp of two tensors, exact at both endpoints and for equal ones; the union of two masks of 0 and 1.

    Of different lengths, the shorter continues with zeros.
    """
    if t in (0, 1):
        return last if t else first
    if first.shape != last.shape:
        length = max(len(first), len(last))
        first, last = (torch.cat([row, row.new_zeros(length - len(row), *row.shape[1:])]) for row in (first, last))
    if not first.is_floating_point() or (_is_mask(first) and _is_mask(last)):
        return torch.maximum(first, last)
    if first.dtype == torch.float64:
        return torch.lerp(first, last, t)
    return torch.lerp(first.float(), last.float(), t).to(first.dtype)


def _row_axis(single: Tensor, together: Tensor, count: int) -> int | None:
    """The axis that grew with the number of prompts; None means that it is none, or not by that number."""
    sizes = zip(single.shape, together.shape, strict=True)
    return next((axis for axis, (one, all_) in enumerate(sizes) if all_ == count * one), None)


def _are_lengths(single: Tensor, together: Tensor, count: int) -> bool:
    """Whether they are cumulative lengths of packed texts: 0 and an entry for each."""
    return (
        single.ndim == 1
        and (len(single), len(together)) == (2, count + 1)
        and not single.is_floating_point()
        and all(int(value[0]) == 0 for value in (single, together))
    )


def _equal(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.shape == b.shape and torch.equal(a, b))


def _is_mask(values: Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())

"""Text embeddings of every frame: the endpoints' lerped, or a guide's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import PromptError


@dataclass(frozen=True)
class Encoded:
    """Embeddings of a sequence's prompts, each (1, ...) by the stock call's argument names.

    Args:
        first, last: of the two endpoints, with their negative prompts' under names that start with "negative_".
        guides: of the interior frames, none without a guide.
    """

    first: dict[str, Tensor]
    last: dict[str, Tensor]
    guides: tuple[dict[str, Tensor], ...]

    def arguments_for(self, coefficients: Sequence[float]) -> dict[str, Tensor]:
        """Embeddings of all frames, by the stock call's argument names; row i is frame i.

        Embeddings, pooled and negative ones are lerped (arXiv 2403.17924, section 3); with guides, interior frames have
        the guide's (PAID, section 6) and only the negative ones are lerped. A token is visible if either endpoint's
        mask shows it.

        Raises:
            PromptError: a frame's embedding equals its negative prompt's.
        """
        arguments = {name: self.rows_for(name, coefficients) for name in self.first}
        _check_negative_differs(arguments)
        return arguments

    def rows_for(self, name: str, coefficients: Sequence[float]) -> Tensor:
        """The rows of one argument; see `arguments_for`."""
        first, last = self.first[name], self.last[name]
        rows = [_between(first, last, t) for t in coefficients]
        if not name.startswith("negative_"):
            for frame, guide in enumerate(guides_of(self.guides, len(rows) - 2), start=1):
                rows[frame] = guide[name]
        return _stacked(rows)


def guides_of(guides: Sequence[Any], interior: int) -> Sequence[Any]:
    """The guide of each of so many interior frames; a selection tries other numbers of them, all with one guide."""
    return guides if len(guides) in (0, interior) else [guides[0]] * interior


def _check_negative_differs(arguments: dict[str, Tensor]) -> None:
    negatives = arguments.get("negative_prompt_embeds")
    if negatives is None:
        return
    for index, (positive, negative) in enumerate(zip(arguments["prompt_embeds"], negatives, strict=True)):
        if torch.equal(positive, negative):
            raise PromptError(
                f"the prompt of frame {index} and the negative prompt have the same embedding, so guidance does "
                "nothing and their rows cannot be told apart; change one of them"
            )


def _between(first: Tensor, last: Tensor, t: float) -> Tensor:
    """Lerp in float32, exact at both endpoints and for equal tensors; the union of two masks."""
    if t in (0, 1):
        return last if t else first
    if first.dtype in (torch.float16, torch.bfloat16, torch.float32):
        return torch.lerp(first.float(), last.float(), t).to(first.dtype)
    if first.dtype == torch.float64:
        return torch.lerp(first, last, t)
    return torch.maximum(first, last)


def _stacked(rows: list[Tensor]) -> Tensor:
    """One batch; of equal rows, such as one negative prompt's, a view that costs no memory per frame."""
    first = rows[0]
    if all(row is first or torch.equal(row, first) for row in rows):
        return first.expand(len(rows), *first.shape[1:])
    return torch.cat(rows)

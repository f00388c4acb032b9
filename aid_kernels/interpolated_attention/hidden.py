"""What a mask hides, as zeros: uninitialised padding may hold NaN or inf, which no product with zero would remove."""

from __future__ import annotations

from torch import Tensor

from .biases import visible


def without_hidden(part: Tensor, mask: Tensor | None) -> Tensor:
    """Keys or values (..., S, D) with zeros where `mask` (S,), or (B, S) for (B, H, S, D), is False; else unchanged.

    For one reader: another may see what this one does not. A mask with a query axis, (h, q, S) or (B, h, q, S), hides
    what no query may attend to.
    """
    return part if mask is None else part.masked_fill(_hidden(part, mask), 0)


def mixable(part: Tensor, mask: Tensor | None) -> Tensor:
    """The same for a part that is mixed with others, equation (3): zeros only where hidden and not finite.

    A mixed key is visible if it is at any source, and is the sum of all of them; a finite one counts as it is.
    """
    return part if mask is None else part.masked_fill(_hidden(part, mask) & ~part.isfinite(), 0)


def _hidden(part: Tensor, mask: Tensor) -> Tensor:
    """Broadcasts against `part`."""
    if mask.ndim > 2:
        return ~visible(mask).any(dim=-2)[..., None]
    hidden = ~mask[..., None]
    return hidden[:, None] if mask.ndim == 2 else hidden

"""What a mask hides, as zeros: uninitialised padding may hold NaN or inf, which no product with zero would remove."""

from __future__ import annotations

from torch import Tensor


def without_hidden(part: Tensor, mask: Tensor | None) -> Tensor:
    """Keys or values (..., S, D) with zeros where `mask` (S,), or (B, S) for (B, H, S, D), is False; else unchanged.

    For one reader: another may see what this one does not.
    """
    return part if mask is None else part.masked_fill(_hidden(part, mask), 0)


def mixable(part: Tensor, mask: Tensor | None) -> Tensor:
    """The same for a part that is mixed with others, equation (3): zeros only where hidden and not finite.

    A mixed key is visible if it is at any source, and is the sum of all of them; a finite one counts as it is.
    """
    return part if mask is None else part.masked_fill(_hidden(part, mask) & ~part.isfinite(), 0)


def _hidden(part: Tensor, mask: Tensor) -> Tensor:
    """Broadcasts against `part`."""
    hidden = ~mask[..., None]
    return hidden[:, None] if mask.ndim == 2 else hidden

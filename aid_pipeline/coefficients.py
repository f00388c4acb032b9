"""Where the frames lie between the two ends: t_i from 0 to 1 (arXiv 2403.17924, section 3)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .errors import CoefficientsError


@dataclass(frozen=True)
class BetaPrior:
    """Coefficients t_i = F^-1((i - 1) / (m - 1)), F the CDF of Beta(alpha, beta) (arXiv 2403.17924, section 5).

    Beta(1, 1) is uniform. With alpha = beta > 1 frames gather in the middle, where two unlike prompts change fastest;
    alpha > beta moves them towards the second prompt. The math is float64.

    Raises:
        CoefficientsError: a parameter that is not a positive, finite number.
    """

    alpha: float
    beta: float

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not (0 < value < math.inf):
                raise CoefficientsError(f"{name} of BetaPrior must be a positive number, got {value!r}")

    def coefficients(self, frames: int) -> tuple[float, ...]:
        """t of each of `frames` frames; the ends are exactly 0 and 1.

        Raises:
            CoefficientsError: fewer than 2 frames, or parameters so large that the quantiles are not finite.
        """
        from scipy.stats import beta

        quantiles = [index / (check_frames(frames) - 1) for index in range(frames)]
        interior = [float(value) for value in beta.ppf(quantiles[1:-1], self.alpha, self.beta)]
        if not all(math.isfinite(value) for value in interior):
            raise CoefficientsError(
                f"Beta({self.alpha:g}, {self.beta:g}) is too extreme to invert; use smaller parameters"
            )
        return (0.0, *interior, 1.0)


def uniform(frames: int) -> tuple[float, ...]:
    """t_i = (i - 1) / (m - 1)."""
    return tuple(index / (check_frames(frames) - 1) for index in range(frames))


def frame_coefficients(coefficients: BetaPrior | Iterable[Any] | None, frames: int) -> tuple[float, ...]:
    """The t of every frame.

    Args:
        coefficients: None for uniform ones, a `BetaPrior`, or m numbers from 0 to 1 that never decrease (a sequence, an
            array or a tensor).
        frames: m >= 2.

    Returns:
        m floats, the first exactly 0 and the last exactly 1.

    Raises:
        CoefficientsError: fewer than 2 frames, a count that differs from `frames`, NaN, numbers that do not go
            from 0 to 1 or that decrease.
    """
    check_frames(frames)
    if coefficients is None:
        return uniform(frames)
    if isinstance(coefficients, BetaPrior):
        return coefficients.coefficients(frames)
    if isinstance(coefficients, str) or not isinstance(coefficients, Iterable):
        raise CoefficientsError(f"coefficients must be numbers from 0 to 1 or a BetaPrior, got {coefficients!r}")
    try:
        t = tuple(float(value) for value in coefficients)
    except (TypeError, ValueError) as error:
        got = " ".join(repr(coefficients).split())
        raise CoefficientsError(f"coefficients must be numbers from 0 to 1, got {got}") from error
    if len(t) != frames:
        raise CoefficientsError(f"got {len(t)} coefficients for {frames} frames; pass frames={len(t)}")
    for index, value in enumerate(t):
        if not 0 <= value <= 1:  # catches NaN too
            raise CoefficientsError(f"coefficients must lie in [0, 1], but number {index} is {value}")
    if t[0] != 0 or t[-1] != 1:
        raise CoefficientsError(f"coefficients must start at 0 and end at 1, got {t[0]:g} and {t[-1]:g}")
    for index in range(1, frames):
        if t[index] < t[index - 1]:
            raise CoefficientsError(
                f"coefficients must never decrease, but number {index} is {t[index]:g} after {t[index - 1]:g}"
            )
    return t


def check_frames(frames: int) -> int:
    """`frames` itself.

    Raises:
        CoefficientsError: not a whole number >= 2.
    """
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 2:
        raise CoefficientsError(f"frames must be a whole number >= 2 (both ends are frames), got {frames!r}")
    return frames

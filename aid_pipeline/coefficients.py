"""Coefficients t of frames from one endpoint to the other, from 0 to 1 (arXiv 2403.17924, section 3)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .errors import ArgumentError, CoefficientsError
from .extras import naming_extra

MOST_FRAMES = 10_000  # of one sequence: all of its frames are in memory


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

    @classmethod
    def parse(cls, text: str) -> BetaPrior:
        """The prior of a text "alpha,beta".

        Raises:
            ArgumentError: not two numbers.
            CoefficientsError: numbers that are not positive and finite.
        """
        numbers: list[float] = []
        reason = ""
        for part in text.split(","):
            try:
                numbers.append(float(part))
            except ValueError:
                reason = f"; {part.strip()!r} is not a number"
        if reason or len(numbers) != 2:
            raise ArgumentError(f'beta takes two numbers, "alpha,beta" such as "3,3"; got {text!r}{reason}')
        return cls(*numbers)

    def to_json(self) -> dict[str, list[float]]:
        """`{"beta_prior": [alpha, beta]}`."""
        return {"beta_prior": [self.alpha, self.beta]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> BetaPrior:
        """The prior that `to_json` wrote.

        Raises:
            KeyError: no "beta_prior".
            TypeError: other than two parameters.
            CoefficientsError: parameters that are not positive, finite numbers.
        """
        return cls(*value["beta_prior"])

    @naming_extra("BetaPrior.coefficients")
    def coefficients(self, frames: int) -> tuple[float, ...]:
        """t of each of `frames` frames; the endpoints are exactly 0 and 1.

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
        CoefficientsError: fewer than 2 frames or coefficients, a count that differs from `frames`, NaN, numbers that
            do not go from 0 to 1 or that decrease.
    """
    coefficients = given_coefficients(coefficients)
    if isinstance(coefficients, tuple) and len(coefficients) < 2:
        raise CoefficientsError(f"coefficients must be at least two numbers, 0 and 1, got {list(coefficients)}")
    check_frames(frames)
    if coefficients is None:
        return uniform(frames)
    if isinstance(coefficients, BetaPrior):
        return coefficients.coefficients(frames)
    t = coefficients
    if len(t) != frames:
        raise CoefficientsError(
            f"got {len(t)} coefficients for frames={frames}; pass frames={len(t)}, or leave frames out"
        )
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


def given_coefficients(value: BetaPrior | Iterable[Any] | None) -> BetaPrior | tuple[float, ...] | None:
    """Numbers of any kind (a sequence, an iterator, an array, a tensor) as a tuple; None and a prior as they are.

    Raises:
        CoefficientsError: neither numbers nor a `BetaPrior`. Their range and order are checked by `frame_coefficients`.
    """
    if value is None or isinstance(value, BetaPrior):
        return value
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise CoefficientsError(f"coefficients must be numbers from 0 to 1 or a BetaPrior, got {value!r}")
    try:
        return tuple(float(number) for number in value)
    except (TypeError, ValueError, OverflowError) as error:
        got = " ".join(repr(value).split())
        raise CoefficientsError(f"coefficients must be numbers from 0 to 1, got {got}") from error


def check_frames(frames: int) -> int:
    """`frames` itself.

    Raises:
        CoefficientsError: not a whole number from 2 to `MOST_FRAMES`.
    """
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 2:
        raise CoefficientsError(f"frames must be a whole number >= 2 (both endpoints are frames), got {frames!r}")
    if frames > MOST_FRAMES:
        raise CoefficientsError(f"frames must be at most {MOST_FRAMES}, got {frames}; generate several sequences")
    return frames

"""Figures with their 95 % bootstrap intervals, by `scipy.stats.bootstrap`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import MetricsError
from ..extras import naming_extra

RESAMPLES = 2000
_Z95 = 1.959963984540054  # of a normal distribution, two-sided


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; `low` and `high` are None where one sequence alone says nothing of spread.

    Attributes:
        count: independent sequences (or pairs of them) behind it.
    """

    value: float
    low: float | None
    high: float | None
    count: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise MetricsError(f"a figure must be finite, got {self.value}")

    @property
    def sign(self) -> int:
        """-1 or 1 where the interval excludes zero, else 0."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return 0
        return 1 if self.low > 0 else -1

    def text(self, digits: int = 4) -> str:
        """`0.7531 [0.7402, 0.7651]`."""
        if self.low is None or self.high is None:
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def figures(self) -> dict[str, Any]:
        return asdict(self)


@naming_extra("bootstrap_mean")
def bootstrap_mean(values: Sequence[float], resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """The mean, with the bias-corrected and accelerated (BCa) bootstrap interval.

    Args:
        values: one per independent sequence.

    Raises:
        MetricsError: no value, or one that is not finite.
    """
    from scipy.stats import bootstrap

    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise MetricsError(f"a mean needs finite values, got {x.tolist()}")
    if len(x) == 1:
        return Estimate(float(x[0]), None, None, 1)
    if np.ptp(x) == 0:
        return Estimate(float(x[0]), float(x[0]), float(x[0]), len(x))
    # BCa reads the tails of a jackknife, which two or three values do not have
    method = "BCa" if len(x) > 3 else "percentile"
    found = bootstrap((x,), np.mean, n_resamples=resamples, method=method, rng=seed).confidence_interval
    low, high = float(found.low), float(found.high)
    # resamples of few values can all lie on one side of the mean, where BCa is not defined
    known = math.isfinite(low) and math.isfinite(high)
    return Estimate(float(x.mean()), low if known else None, high if known else None, len(x))


@naming_extra("bootstrap_groups")
def bootstrap_groups(
    statistic: Callable[[np.ndarray], float], groups: int, resamples: int = 200, seed: int = 0
) -> Estimate:
    """A figure of whole sets of sequences (FID, KID), with the interval value +- 1.96 bootstrap standard errors.

    Sequences are resampled whole, since the frames of one are no independent images. Percentiles would not do: a
    resample holds images twice, which raises FID and KID of every resample above the value itself.

    Args:
        statistic: figure of the sequences with these numbers (k,), which may repeat.
        groups: how many sequences there are.
        resamples: 0 for no interval.
    """
    from scipy.stats import bootstrap

    value = float(statistic(np.arange(groups)))
    if groups < 2 or not resamples:
        return Estimate(value, None, None, groups)
    found = bootstrap(
        (np.arange(groups),), statistic, n_resamples=resamples, method="basic", vectorized=False, rng=seed
    )
    error = float(found.standard_error)
    return Estimate(value, value - _Z95 * error, value + _Z95 * error, groups)

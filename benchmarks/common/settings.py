"""What every part of the GPU run is given, and what a part is."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

Row = dict[str, Any]
"""One measurement, flat and JSON-able. Keys where they apply: `part`, `shape`, `m` (frames), `peer`, `median_ms`,
`p20_ms`, `p80_ms`, `useful_tflops`, `ceiling_share`, `peak_mib` (beyond the inputs, result included), `problem` (why
something was not timed)."""


@dataclass(frozen=True)
class BenchmarkSettings:
    """Device and dtype to measure, the smoke switch, the end, the random seed.

    Args:
        device: "cuda", "cuda:1", "cpu".
        dtype: of queries, keys, values and weights.
        smoke: every part small, to run its code and not to learn anything; rows of such a run are marked by the caller.
        deadline: in the seconds of `time.monotonic`; a part that runs out ends cleanly with the rows it has.
        seed: of all random data.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cuda"))
    dtype: torch.dtype = torch.bfloat16
    smoke: bool = False
    deadline: float = float("inf")
    seed: int = 0

    def time_left(self) -> float:
        """Seconds until the deadline, negative after it."""
        return self.deadline - time.monotonic()

    def expired(self, needed: float = 0.0) -> bool:
        """Whether something that takes `needed` seconds would no longer end in time."""
        return self.time_left() <= needed


class Part(Protocol):
    """A module of the GPU run."""

    def run(self, settings: BenchmarkSettings) -> Iterable[Row]:
        """Yield rows as they are measured: what was yielded is written even if the part does not come to its end."""

    def estimated_minutes(self, settings: BenchmarkSettings) -> float:
        """On an H200-class card, for the plan; with `settings.smoke` on two CPU cores."""

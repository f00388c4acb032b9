"""Unit of the comparison: what was measured of one pair of prompts, with every method."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import Tensor

from aid_pipeline.metrics.step_distances import StepMeasures

from .pairs import Pair


@dataclass
class Unit:
    """All that was measured of one pair of one trial.

    Attributes:
        endpoints: (2, d) features of the endpoints, which all methods share.
        interior: (m - 2, d) features of the interior frames, by method.
        steps: by method.
    """

    pair: Pair
    endpoints: Tensor | None = None
    interior: dict[str, Tensor] = field(default_factory=dict)
    steps: dict[str, StepMeasures] = field(default_factory=dict)

    def missing(self, methods: Iterable[str]) -> list[str]:
        """Methods that were not sampled yet."""
        return [name for name in methods if name not in self.steps]

"""Made-up units of the comparison."""

import torch

from aid_pipeline.metrics.step_distances import StepMeasures
from benchmarks.paper.pairs import Pair
from benchmarks.paper.unit import Unit


def drawn_units(count: int, better: float, size: int = 4) -> list[Unit]:
    """Units in which AID-O's steps are `better` times TEI's, and its frames lie where the endpoints do."""
    generator = torch.Generator().manual_seed(0)
    units = []
    for index in range(count):
        unit = Unit(Pair(0, index, "a", "b", index), endpoints=torch.randn(2, size, generator=generator))
        steps = (torch.rand(3, generator=generator) + 0.5).tolist()
        for name, factor, shift in (("tei", 1.0, 2.0), ("aid-o", better, 0.0)):
            unit.steps[name] = StepMeasures(tuple(step * factor for step in steps), 2.0, "drawn")
            unit.interior[name] = torch.randn(2, size, generator=generator) + shift
        units.append(unit)
    return units

"""The Beta prior of a model, fitted on pairs that are not compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aid_pipeline.coefficients import BetaPrior
from aid_pipeline.errors import MetricsError
from aid_pipeline.metrics.presets import Instruments
from aid_pipeline.selection.beta_fit import fit_beta
from aid_pipeline.spec import InterpolationSpec
from aid_pipeline.studies.comparison.methods import all_methods, pick, sample_methods
from aid_pipeline.studies.evaluation.time_left import TimeLeft

from .pairs import Pair
from .store import SETTINGS

METHOD = "aid-o-uniform"


def fit_prior(
    pipe: Any, pairs: Sequence[Pair], instruments: Instruments, warmup: float, call: dict[str, Any]
) -> BetaPrior:
    """Beta(alpha, beta) whose CDF is nearest to the mean way from a to b of evenly spaced AID-O sequences.

    Spaced by it, frames lie where the average sequence changes (arXiv 2403.17924, section 5 and appendix D's fit, over
    many pairs instead of one).

    Args:
        pairs: other ones than those compared.
        warmup, call: as the comparison.
    """
    methods, left = pick([METHOD], all_methods(BetaPrior(1, 1), warmup)), TimeLeft(len(pairs))
    shares: list[list[float]] = []
    coefficients: tuple[float, ...] = ()
    for pair in pairs:
        spec = InterpolationSpec.between(pair.prompt_a, pair.prompt_b, seed=pair.seed, **call)
        frames = dict(sample_methods(pipe, spec, methods))[METHOD]
        distances = instruments.steps(frames.images).distances
        if sum(distances) > 0:  # else the two prompts look alike, and say nothing of where to be
            shares.append([step / sum(distances) for step in distances])
        coefficients = frames.coefficients
        print(f"prior, other pair {left.advance()}", flush=True)
    if not shares:
        raise MetricsError("no pair to fit the prior to changes at all")
    prior = fit_beta(coefficients, [sum(column) / len(shares) for column in zip(*shares, strict=True)])
    return BetaPrior(round(prior.alpha, 3), round(prior.beta, 3))


def known_prior(out: Path, beta_from: str) -> str | None:
    """The prior that an earlier run in this folder fitted in the same way."""
    path = out / SETTINGS
    before = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return str(before["beta"]) if before.get("beta_from") == beta_from else None

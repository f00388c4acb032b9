"""Bayesian optimisation of a Beta prior on a sequence's smoothness (arXiv 2403.17924, appendix F)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..coefficients import BetaPrior
from ..errors import SelectionError
from ..extras import naming_extra

RANGE = (1.0, 15.0)  # of alpha and of beta
PROBES = tuple(itertools.product((10.0, 12.0, 14.0), repeat=2))

Measure = Callable[[BetaPrior], list[float]]
"""Samples a sequence with this prior and returns the distances between its neighbours."""


@dataclass(frozen=True)
class Search:
    """What the search saw.

    Attributes:
        best: the prior of the smoothest sequence; of equal ones the first.
        tried: (alpha, beta, smoothness), in order: the probes, then the steps.
        distances: between neighbours of the smoothest sequence.
    """

    best: BetaPrior
    tried: tuple[tuple[float, float, float], ...]
    distances: tuple[float, ...]

    def record(self) -> dict[str, Any]:
        """As `sequence.json` holds it."""
        return {
            "method": "bayes",
            "prior": [self.best.alpha, self.best.beta],
            "tried": [list(entry) for entry in self.tried],
            "distances": list(self.distances),
        }


def evaluations(steps: int) -> int:
    """How many sequences a search of so many steps samples."""
    return len(PROBES) + steps


def check_installed() -> None:
    """Raises:
    SelectionError: the extra `select` is not installed.
    """
    with naming_extra('select="bayes"', SelectionError):
        import bayes_opt  # noqa: F401


def search_prior(measure: Measure, steps: int = 15, seed: int = 0) -> Search:
    """The (alpha, beta) in `RANGE` whose sequence is smoothest: nine probes, then `steps` suggestions.

    Suggestions are those of a Gaussian process with expected improvement (package `bayesian-optimization`); the same
    seed and measurements give the same ones.

    Raises:
        SelectionError: the extra `select` is not installed.
    """
    check_installed()
    from bayes_opt import BayesianOptimization
    from bayes_opt.acquisition import ExpectedImprovement

    from ..metrics.step_distances import smoothness

    optimizer = BayesianOptimization(
        f=None,
        pbounds={"alpha": RANGE, "beta": RANGE},
        acquisition_function=ExpectedImprovement(xi=0.0, random_state=seed % 2**32),
        random_state=seed % 2**32,
        verbose=0,
        allow_duplicate_points=True,
    )
    found: list[tuple[float, float, float]] = []
    steps_of: dict[tuple[float, float], list[float]] = {}
    for index in range(evaluations(steps)):
        alpha, beta = PROBES[index] if index < len(PROBES) else _suggestion(optimizer)
        if (alpha, beta) not in steps_of:
            steps_of[alpha, beta] = measure(BetaPrior(alpha, beta))
        value = smoothness(steps_of[alpha, beta])
        optimizer.register(params={"alpha": alpha, "beta": beta}, target=value)
        found.append((alpha, beta, value))
    alpha, beta, _ = max(found, key=lambda entry: entry[2])
    return Search(BetaPrior(alpha, beta), tuple(found), tuple(steps_of[alpha, beta]))


def _suggestion(optimizer: Any) -> tuple[float, float]:
    suggested = optimizer.suggest()
    return float(suggested["alpha"]), float(suggested["beta"])

"""The paper's figures, and what it claims of its methods, as differences that can be tested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from aid_pipeline.errors import MetricsError
from aid_pipeline.metrics.fidelity import fid, fidelity_difference, kid
from aid_pipeline.metrics.intervals import Estimate, bootstrap_mean

from .unit import Unit

PAPER_TABLE: dict[str, dict[str, tuple[float, float, float]]] = {
    "CIFAR-10": {
        "TEI": (0.7531, 0.3645, 118.05),
        "DI": (0.7564, 0.4295, 87.13),
        "AID-O": (0.7831, 0.2905, 51.43),
        "AID-I": (0.7861, 0.3271, 101.13),
    },
    "LAION-Aesthetics": {
        "TEI": (0.7424, 0.3867, 142.38),
        "DI": (0.7511, 0.4365, 101.31),
        "AID-O": (0.7643, 0.2944, 82.01),
        "AID-I": (0.8152, 0.3787, 129.41),
    },
}
"""Smoothness, consistency, fidelity (FID) of the paper's Table 1."""
METRICS = ("smoothness", "consistency", "fidelity")
METHODS = {"tei": "TEI", "di": "DI", "aid-o": "AID-O", "aid-i": "AID-I"}
"""Rows of that table by their names here."""


LEAST = 10
"""Sequences below which no interval decides anything: a bootstrap of a few values is much too narrow."""


@dataclass(frozen=True)
class Claim:
    """`better` beats `worse` in `metric`, says the paper.

    Attributes:
        metric: "smoothness" (higher is better), "consistency" or "fidelity" (lower is better).
        source: where the paper says so.
    """

    metric: str
    better: str
    worse: str
    source: str


def table_claims() -> Iterator[Claim]:
    """Every ordering of two methods that the paper's table shows for all its data."""
    for place, metric in enumerate(METRICS):
        for first, second in combinations(METHODS, 2):
            higher = {row[METHODS[first]][place] > row[METHODS[second]][place] for row in PAPER_TABLE.values()}
            if len(higher) == 1:
                better = (first, second) if higher == {metric == "smoothness"} else (second, first)
                yield Claim(metric, *better, "Table 1")


CLAIMS = (
    *table_claims(),
    Claim("consistency", "aid-o-unfused", "tei", "ablation: attention interpolation"),
    Claim("consistency", "aid-i-unfused", "tei", "ablation: attention interpolation"),
    Claim("fidelity", "aid-o-uniform", "aid-o-unfused", "ablation: fusion"),
    Claim("fidelity", "aid-i-uniform", "aid-i-unfused", "ablation: fusion"),
    Claim("smoothness", "aid-o", "aid-o-uniform", "ablation: Beta prior"),
    Claim("smoothness", "aid-i", "aid-i-uniform", "ablation: Beta prior"),
    Claim("smoothness", "tei+beta", "tei", "ablation: Beta prior"),
)
EVENLY, BY_BETA = "both evenly spaced", "both spaced by the prior"
EQUAL_SPACING = (
    Claim("smoothness", "aid-o-uniform", "tei", EVENLY),
    Claim("smoothness", "aid-o", "tei+beta", BY_BETA),
    Claim("smoothness", "aid-i-uniform", "tei", EVENLY),
    Claim("smoothness", "aid-i", "tei+beta", BY_BETA),
    Claim("consistency", "aid-o-uniform", "tei", EVENLY),
    Claim("consistency", "aid-o", "tei+beta", BY_BETA),
    Claim("consistency", "aid-i-uniform", "tei", EVENLY),
    Claim("consistency", "aid-i", "tei+beta", BY_BETA),
    Claim("fidelity", "aid-o-uniform", "tei", EVENLY),
    Claim("fidelity", "aid-o", "tei+beta", BY_BETA),
    Claim("fidelity", "aid-i-uniform", "tei", EVENLY),
    Claim("fidelity", "aid-i", "tei+beta", BY_BETA),
    Claim("fidelity", "tei", "tei+beta", "what the prior alone does"),
)
"""Not the paper's: its Table 1 sets AID with the prior beside TEI without. These tell attention and spacing apart."""


def check_claims(
    units: Sequence[Unit], methods: Mapping[str, Any], resamples: int, claims: Sequence[Claim] = CLAIMS
) -> list[dict[str, Any]]:
    """Every claim about these methods: difference (better less worse) with its 95 % interval, and the verdict.

    Both methods of a claim are measured on the same pairs, so the differences are taken pair by pair. Fidelity is
    decided by FID, or by KID where the features are too many for FID's interval.
    """
    found = []
    for claim in claims:
        if claim.better not in methods or claim.worse not in methods:
            continue
        difference, metric = _difference(claim, units, resamples)
        wanted = 1 if claim.metric == "smoothness" else -1
        decided = difference.sign and difference.count >= LEAST
        verdict = "not decided" if not decided else "holds" if difference.sign == wanted else "does not hold"
        found.append(
            {
                "metric": metric,
                "better": claim.better,
                "worse": claim.worse,
                "source": claim.source,
                "difference": difference.figures(),
                "verdict": verdict,
            }
        )
    return found


def _difference(claim: Claim, units: Sequence[Unit], resamples: int) -> tuple[Estimate, str]:
    if claim.metric in ("smoothness", "consistency"):
        pairs = [(unit.steps[claim.better], unit.steps[claim.worse]) for unit in units]
        return bootstrap_mean([getattr(a, claim.metric) - getattr(b, claim.metric) for a, b in pairs]), claim.metric
    endpoints = [unit.endpoints for unit in units]
    if any(features is None for features in endpoints):
        raise MetricsError("a unit has no features of its endpoints")
    sets = ([unit.interior[name] for unit in units] for name in (claim.better, claim.worse))
    first, second = sets
    found = fidelity_difference(fid, endpoints, first, second, resamples)  # type: ignore[arg-type]
    if found.low is not None or len(units) < 2:
        return found, "FID"
    return fidelity_difference(kid, endpoints, first, second, resamples), "KID"  # type: ignore[arg-type]

"""Fidelity of interior frames to the model's own images: FID and KID of features, by torchmetrics.

The reference is the endpoints, which are what the model makes of a prompt alone; the measured set is the interior
frames (arXiv 2403.17924, section 3: "fidelity"). FID's bias depends on the number of images, so both sets must be
equally large here; KID is unbiased.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import MetricsError
from ..extras import naming_extra
from .intervals import Estimate, bootstrap_groups

Metric = Callable[[Tensor, Tensor], float]
LARGEST_RESAMPLED = 512  # feature sizes above which FID's eigenvalues are too slow to be resampled


def fid(reference: Tensor, measured: Tensor, equal_counts: bool = True) -> float:
    """Frechet distance of two sets of features (Heusel et al., arXiv 1706.08500, equation 6); the math is float64.

    Args:
        reference, measured: (n, d) each.
        equal_counts: insist on as many images in both.

    Raises:
        MetricsError: fewer than 2 images, other shapes, unequal counts, or torchmetrics is not installed.
    """
    _check(reference, measured)
    if equal_counts and len(reference) != len(measured):
        raise MetricsError(
            f"FID of {len(reference)} against {len(measured)} images: its bias depends on the counts, so give "
            "equally many, or report KID"
        )
    with naming_extra("FID", MetricsError):
        from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(reference.shape[1]))
    metric.update(reference.double(), real=True)
    metric.update(measured.double(), real=False)
    return float(metric.compute())


def kid(reference: Tensor, measured: Tensor) -> float:
    """Unbiased squared MMD of two sets of features with the cubic kernel (Binkowski et al., arXiv 1801.01401).

    One estimate over all images of the smaller set and as many of the larger; it may be slightly negative.

    Args:
        reference, measured: (n, d), n >= 2.

    Raises:
        MetricsError: as `fid`, but for the counts.
    """
    _check(reference, measured)
    with naming_extra("KID", MetricsError):
        from torchmetrics.image.kid import KernelInceptionDistance

    count = min(len(reference), len(measured))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all", UserWarning)
        metric = KernelInceptionDistance(feature=_Given(reference.shape[1]), subsets=1, subset_size=count)
    metric.update(reference.double(), real=True)
    metric.update(measured.double(), real=False)
    with torch.random.fork_rng(devices=[]):  # it draws subsets from the global generator
        torch.manual_seed(0)
        return float(metric.compute()[0])


@dataclass(frozen=True)
class Fidelity:
    """Fidelity of a set of sequences.

    Attributes:
        fid: interior frames against endpoints, equally many of each.
        kid: of the same images.
        fid_all: of all interior frames against all endpoints, in the paper's (unequal) counts.
        counts: images (endpoints and interior frames, in `fid`; interior frames, in `fid_all`).
        features: their name.
        few: no more images than features: the covariance has no full rank, and FID is far from its limit.
    """

    fid: Estimate
    kid: Estimate
    fid_all: float
    counts: tuple[int, int, int]
    features: str
    few: bool


def fidelity(
    endpoints: Sequence[Tensor], interior: Sequence[Tensor], name: str, resamples: int = 200, seed: int = 0
) -> Fidelity:
    """FID and KID of a set of sequences, with intervals by resampling sequences.

    Args:
        endpoints: (2, d) features of each sequence's endpoints.
        interior: (m - 2, d) features of the interior frames, of the same sequences.
        name: of the features.
        resamples: 0 for no intervals.
        seed: of the choice of as many interior frames as there are endpoints.

    Raises:
        MetricsError: no sequence, or one without interior frames.
    """
    reference, measured = balanced(endpoints, interior, seed)
    size, groups = reference.shape[2], len(reference)

    def estimate(metric: Metric, resampled: bool) -> Estimate:
        return bootstrap_groups(_of_groups(metric, reference, measured), groups, resamples if resampled else 0, seed)

    every = torch.cat(list(interior))
    return Fidelity(
        fid=estimate(fid, size <= LARGEST_RESAMPLED),
        kid=estimate(kid, True),
        fid_all=fid(torch.cat(list(endpoints)), every, equal_counts=False),
        counts=(reference.shape[0] * reference.shape[1], measured.shape[0] * measured.shape[1], len(every)),
        features=name,
        few=reference.shape[0] * reference.shape[1] <= size,
    )


def fidelity_difference(
    metric: Metric,
    endpoints: Sequence[Tensor],
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    resamples: int = 200,
    seed: int = 0,
) -> Estimate:
    """`metric` (`fid`, `kid`) of `first` less that of `second`: sequences of the same endpoints, resampled as one."""
    of_first = _of_groups(metric, *balanced(endpoints, first, seed))
    of_second = _of_groups(metric, *balanced(endpoints, second, seed))
    resampled = metric is not fid or endpoints[0].shape[1] <= LARGEST_RESAMPLED

    def difference(index: np.ndarray) -> float:
        return of_first(index) - of_second(index)

    return bootstrap_groups(difference, len(endpoints), resamples if resampled else 0, seed)


def balanced(endpoints: Sequence[Tensor], interior: Sequence[Tensor], seed: int = 0) -> tuple[Tensor, Tensor]:
    """As many endpoints as interior frames of every sequence, drawn at random: (sequences, 1 or 2, d) each.

    Raises:
        MetricsError: no sequence, or one without interior frames.
    """
    if not endpoints or len(endpoints) != len(interior):
        got = f"{len(endpoints)} with endpoints and {len(interior)} with frames"
        raise MetricsError(f"fidelity needs sequences, got {got}")
    shortest = min(len(frames) for frames in interior)
    if shortest < 1:
        raise MetricsError("fidelity needs interior frames; a sequence has only 2 frames")
    rng = np.random.default_rng(seed)
    each = min(2, shortest)
    if each * len(endpoints) < 2:
        raise MetricsError(
            "FID and KID need at least 2 images of each kind; one sequence of 3 frames has 1 interior frame"
        )
    reference = torch.stack([_some(part, each, rng) for part in endpoints])
    return reference, torch.stack([_some(part, each, rng) for part in interior])


def _of_groups(metric: Metric, reference: Tensor, measured: Tensor) -> Callable[[np.ndarray], float]:
    """The metric of some of the sequences."""
    return lambda index: metric(reference[index].flatten(0, 1), measured[index].flatten(0, 1))


class _Given(nn.Module):
    """Stands where torchmetrics expects a network: the features are there already."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        return features


def _some(features: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    return features[np.sort(rng.choice(len(features), count, replace=False))]


def _check(reference: Tensor, measured: Tensor) -> None:
    for name, part in (("reference", reference), ("measured", measured)):
        if part.ndim != 2 or len(part) < 2:
            raise MetricsError(f"{name} features must be (n, d) with n >= 2, got {tuple(part.shape)}")
        if not torch.isfinite(part).all():
            raise MetricsError(f"{name} features hold NaN or infinity")
    if reference.shape[1] != measured.shape[1]:
        raise MetricsError(f"features differ in size: {reference.shape[1]} and {measured.shape[1]}")

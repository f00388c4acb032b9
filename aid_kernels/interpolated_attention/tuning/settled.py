"""Settled choices: what serves a bucket in this process, from the cache or measured now; it never changes."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from .cache import Cache, cache_root
from .choice import CallBucket, Choice
from .machine import experimental, identity
from .measure import Measurement
from .tile_sizes import LaunchConfig

# doublings of a length within which a measurement still tells which implementation is faster
NEAR = 1

Measure = Callable[[Cache], Measurement | None]


@dataclass(frozen=True)
class Settled:
    """A bucket's choice.

    Attributes:
        choice: what serves it.
        reason: where the choice is from, in words.
        measurement: what was tried; None where nothing was.
    """

    choice: Choice
    reason: str
    measurement: Measurement | None = None


_settled: dict[CallBucket, Settled] = {}
_lock = threading.RLock()


def forget() -> None:
    """Start as a new process would."""
    with _lock:
        _settled.clear()
        _cache.cache_clear()


def cache_for(device: str) -> Cache:
    """The cache of a GPU by its name, or of "cpu"."""
    return _cache(device, cache_root(), torch.get_num_threads() if device == "cpu" else 0, experimental())


def is_settled(bucket: CallBucket) -> bool:
    """Whether this process has served a call of the bucket."""
    return bucket in _settled


def known(bucket: CallBucket) -> Settled | None:
    """What serves a bucket from now on or would, if that is known; settles nothing."""
    found = _settled.get(bucket)
    return found if found is not None else _from_cache(bucket)


def settle(
    bucket: CallBucket, standard: Choice, why_standard: str, measure: Measure | None, reach: int = NEAR
) -> Settled:
    """What serves a bucket in this process: settled before, in the cache, measured now, near in the cache, or standard.

    Args:
        standard: what serves it where nothing is known, for the reason `why_standard`.
        measure: measures the bucket; returns None where the call cannot tell. None: measuring is not allowed now.
        reach: doublings of a length up to which another bucket's measurement serves where there is none.
    """
    found = _settled.get(bucket)
    if found is not None:
        return found
    with _lock:
        found = _settled.get(bucket) or _from_cache(bucket)
        if found is None and measure is not None:
            cache = cache_for(bucket.device)
            measurement = measure(cache)
            if measurement is not None:
                kept = cache.store(bucket, measurement)
                found = Settled(kept.choice, f"the fastest measured here, kept in {cache.path(bucket)}", kept)
            else:
                why_standard = f"{standard}; the first call's values are not finite, so that nothing could be measured"
        if found is None and reach:
            found = _near(bucket, reach)
        _settled[bucket] = found or Settled(standard, why_standard)
        return _settled[bucket]


def agreed(bucket: CallBucket) -> LaunchConfig | None:
    """Triton's configuration of a bucket that differs in sources or `fuse_self` alone; None where there is none."""
    kept = {other: measurement.choice for other, measurement in cache_for(bucket.device).entries()}
    kept |= {other: found.choice for other, found in _settled.items()}
    configs = [choice.config for other, choice in kept.items() if other != bucket and other.siblings(bucket)]
    return next((config for config in configs if config is not None), None)


def _from_cache(bucket: CallBucket) -> Settled | None:
    cache = cache_for(bucket.device)
    measurement = cache.load(bucket)
    if measurement is None:
        return None
    return Settled(measurement.choice, f"the fastest measured before, {cache.path(bucket)}", measurement)


def _near(bucket: CallBucket, reach: int) -> Settled | None:
    """The nearest measured bucket within reach."""
    found: list[tuple[int, str, CallBucket, Measurement]] = []
    for other, measurement in cache_for(bucket.device).entries():
        steps = bucket.doublings(other)
        if steps is not None and steps <= reach:
            found.append((steps, str(other), other, measurement))
    if not found:
        return None
    _, name, _, measurement = min(found, key=lambda entry: entry[:2])
    return Settled(measurement.choice, f"the fastest measured for the nearest lengths, {name}", measurement)


@functools.lru_cache
def _cache(device: str, root: Path, threads: int, allowed: bool) -> Cache:
    return Cache(identity(device), root)

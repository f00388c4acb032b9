"""From the tuner's timings to a file: what is kept, what was second, and `auto`'s choice. No GPU, no clock."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from aid_kernels.interpolated_attention.tuning.files import FORMAT, Bucket
from aid_kernels.interpolated_attention.tuning.tile_sizes import LaunchConfig
from benchmarks.common.settings import Row
from benchmarks.tune.space import MANY

NOISE_FLOOR = 0.01  # differences below are noise, however steady the clock
RUNNERS_UP = 3
_BUCKET = tuple(field.name for field in fields(Bucket))
_CONFIG = (*(field.name for field in fields(LaunchConfig)), "mix")

Config = tuple[tuple[str, Any], ...]


def entries(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Entries of a file, in the order measured, from the rows of `search.run`.

    A bucket of outer attention is left out unless few and many sources were both measured to the end: one's tiles would
    serve the other, untried.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((*(row[name] for name in _BUCKET), row["sources"]), []).append(row)
    chosen = {key: entry for key, group in groups.items() if (entry := choose(group))}
    complete = []
    for key, entry in chosen.items():
        kinds = {other[-1] >= MANY for other in chosen if other[:-1] == key[:-1]}
        if entry["mode"] == "inner" or kinds == {False, True}:
            complete.append(entry)
    return complete


def choose(rows: Sequence[Row]) -> dict[str, Any] | None:
    """The entry of one bucket and number of sources; None if the final round has not come to its end.

    The usual configuration stays unless another beats it by more than the noise, and so does `sdpa`.
    """
    final = [row for row in rows if row["round"] == "final" and "problem" not in row]
    times: dict[Config, list[float]] = {}
    for row in final:
        if row["peer"] != "sdpa":
            times.setdefault(config_of(row), []).append(row["median_ms"])
    stock = [row["median_ms"] for row in final if row["peer"] == "sdpa"]
    if not times or not stock:
        return None
    medians = {config: statistics.median(measured) for config, measured in times.items()}
    noise = max(NOISE_FLOOR, *(spread(measured) for measured in (*times.values(), stock)))
    best = min(medians, key=lambda config: medians[config])
    usual = next((config_of(row) for row in final if row["peer"] == "usual"), best)
    if medians[best] >= medians[usual] * (1 - noise):
        best = usual
    sdpa = statistics.median(stock)
    first = rows[0]
    return {name: first[name] for name in _BUCKET} | {
        "sources": first["sources"],
        "auto": "triton" if medians[best] < sdpa * (1 - noise) else "sdpa",
        "triton_ms": medians[best],
        "sdpa_ms": sdpa,
        "config": dict(best),
        "frames": first["m"],
        "heads": first["heads"],
        "noise": round(noise, 4),
        "runners_up": _runners_up(rows, medians, best),
    }


def config_of(row: Row) -> Config:
    """The part of a row that names a configuration, as a file has it."""
    return tuple((name, row[name]) for name in _CONFIG if name in row)


def spread(times: Sequence[float]) -> float:
    """How far repeated medians of one thing lie apart, as a share."""
    return (max(times) - min(times)) / statistics.median(times)


def file_content(gpu: str, entries: list[dict[str, Any]], machine: dict[str, str], *, smoke: bool) -> dict[str, Any]:
    """What `tuning.files.parse` reads."""
    return {"format": FORMAT, "gpu": gpu, "smoke": smoke, "machine": machine, "entries": entries}


def merge(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The new entries, and the old ones of buckets that were not measured again."""

    def bucket(entry: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(entry[name] for name in _BUCKET)

    again = {bucket(entry) for entry in new}
    return [entry for entry in old if bucket(entry) not in again] + new


def _runners_up(rows: Sequence[Row], medians: dict[Config, float], best: Config) -> list[dict[str, Any]]:
    """The next best by the final round's times where there are any, else by the first's."""
    times = {
        config_of(row): row["median_ms"] for row in rows if row["peer"] != "sdpa" and "problem" not in row
    } | medians
    others = sorted((config for config in times if config != best), key=lambda config: times[config])
    return [{"config": dict(config), "median_ms": times[config]} for config in others[:RUNNERS_UP]]

"""Files of tuned configurations, `aid_kernels/configs/<gpu>.json`: format, checks, and where they are looked for.

Read without Triton and without a GPU; `python -m benchmarks.tune` writes them. The format is in `configs/README.md`.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...constants import CONFIG_DIR_VARIABLE, MODES
from .tile_sizes import LaunchConfig

FORMAT = 1
SHIPPED = Path(__file__).parents[2] / "configs"

DTYPES = ("float16", "bfloat16", "float32")
MIXES = ("before", "fused")
AUTO_CHOICES = ("triton", "sdpa")
_TOP = {"format", "gpu", "smoke", "machine", "entries"}
# what a configuration may be: more would not be a slip of the pen but a kernel that does not exist
_ALLOWED = {
    "block_m": (16, 32, 64, 128, 256),
    "block_n": (16, 32, 64, 128, 256),
    "num_warps": (1, 2, 4, 8, 16),
    "num_stages": (1, 2, 3, 4, 5, 6, 7, 8),
    "slices": (1, 2, 4),
    "widest": (64, 128, 256),
    "pad": (False, True),
    "registers": (0, 64, 96, 128, 168),
    "descriptors": (False, True),
}
# what a file from before has not
_ABSENT = {"registers": 0, "descriptors": False}
# what two entries of one bucket may differ in: the rest fixes the order of a row's sums, README "Batch invariance"
_FREE = ("slices", "num_stages", "registers")


class ConfigFileError(ValueError):
    """A file of tuned configurations that cannot be used; the message names the file and the place in it."""


@dataclass(frozen=True)
class Bucket:
    """What an entry was measured for, but for the number of sources."""

    mode: str
    dtype: str
    head_dim: int
    query_length: int
    key_length: int
    masked: bool


@dataclass(frozen=True)
class TunedEntry:
    """One entry of a file: the fastest way to launch the kernel, and whether that beat the stock recipe.

    Attributes:
        bucket, sources: shapes, dtype and number of sources J it was measured for.
        config: tiles and launch options.
        mix: inner only, "before" the attention kernel or "fused" into it; None: by the number of keys.
        auto: "triton" or "sdpa", what `impl="auto"` picks.
        triton_ms, sdpa_ms: medians of one run.
    """

    bucket: Bucket
    sources: int
    config: LaunchConfig
    mix: str | None
    auto: str
    triton_ms: float
    sdpa_ms: float


def file_name(gpu: str) -> str:
    """ "NVIDIA H200" -> "nvidia-h200.json"."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-") + ".json"


def load(gpu: str, directory: str | None) -> tuple[TunedEntry, ...]:
    """Entries for a GPU: the shipped ones, and a user's own, which take the place of whole buckets of them.

    Raises:
        ConfigFileError: `directory` is not a folder, or a file there is not as it should be.
    """
    found = _entries(SHIPPED / file_name(gpu), gpu)
    if directory:
        if not Path(directory).is_dir():
            raise ConfigFileError(
                f"{CONFIG_DIR_VARIABLE}={directory} is not a folder; make it, with {file_name(gpu)} inside, or unset it"
            )
        own = _entries(Path(directory) / file_name(gpu), gpu)
        replaced = {entry.bucket for entry in own}
        found = tuple(entry for entry in found if entry.bucket not in replaced) + own
    return found


def own_directory() -> str | None:
    """The user's folder, from the environment."""
    return os.environ.get(CONFIG_DIR_VARIABLE) or None


def _entries(path: Path, gpu: str) -> tuple[TunedEntry, ...]:
    if not path.exists():
        return ()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigFileError(f"{path} cannot be read as JSON: {error}") from error
    named, entries = parse(content, str(path))
    if file_name(named) != file_name(gpu):
        raise ConfigFileError(f"{path} was measured on {named!r}, not on {gpu!r}; call it {file_name(named)}")
    return entries


def parse(content: Any, origin: str, *, smoke: bool = False) -> tuple[str, tuple[TunedEntry, ...]]:
    """The GPU's name and the entries of a file's content; `origin` names it in errors.

    Args:
        smoke: take a smoke run's file, which measured nothing; else such a file is refused.

    Raises:
        ConfigFileError: wrong format number, unknown, missing or impossible values, doubled or contradicting entries.
    """
    if not isinstance(content, dict):
        raise ConfigFileError(f"{origin} must hold a JSON object, got {type(content).__name__}")
    if content.get("format") != FORMAT:
        raise ConfigFileError(
            f"{origin} has format {content.get('format')!r}, this version reads {FORMAT}; "
            "measure anew with python -m benchmarks.tune"
        )
    _known(content, _TOP, origin)
    if content.get("smoke") and not smoke:
        raise ConfigFileError(f"{origin} was written by a smoke run, which measures nothing; remove it")
    gpu, listed = content.get("gpu"), content.get("entries")
    if not isinstance(gpu, str) or not isinstance(listed, list):
        raise ConfigFileError(f"{origin} needs a name in 'gpu' and a list in 'entries'")
    entries = tuple(_entry(item, f"{origin}, entry {index}") for index, item in enumerate(listed))
    _check_together(entries, origin)
    return gpu, entries


def _entry(item: Any, origin: str) -> TunedEntry:
    if not isinstance(item, dict):
        raise ConfigFileError(f"{origin} must be an object, got {item!r}")
    numbers = ("head_dim", "query_length", "key_length", "sources")
    times = ("triton_ms", "sdpa_ms")
    notes = {"frames", "heads", "noise", "runners_up", "commit"}  # for people
    _known(item, {"mode", "dtype", "masked", "auto", "config", *numbers, *times, *notes}, origin)
    for name, choices in (("mode", MODES), ("dtype", DTYPES), ("auto", AUTO_CHOICES), ("masked", (False, True))):
        _one_of(item, name, choices, origin)
    for name in numbers:
        value = item.get(name)
        if type(value) is not int or value < 1:
            raise ConfigFileError(f"{origin}: {name} must be a whole number of at least 1, got {value!r}")
    for name in times:
        value = item.get(name)
        if not isinstance(value, float | int) or isinstance(value, bool) or not 0 < value < float("inf"):
            raise ConfigFileError(f"{origin}: {name} must be a time in ms above 0, got {value!r}")
    bucket = Bucket(**{field.name: item[field.name] for field in fields(Bucket)})
    config, mix = _config(item.get("config"), bucket.mode, origin)
    return TunedEntry(bucket, item["sources"], config, mix, item["auto"], item["triton_ms"], item["sdpa_ms"])


def _config(item: Any, mode: str, origin: str) -> tuple[LaunchConfig, str | None]:
    if not isinstance(item, dict):
        raise ConfigFileError(f"{origin}: config must be an object, got {item!r}")
    mix = item.get("mix")
    if mix is not None:
        _one_of(item, "mix", MIXES if mode == "inner" else (None,), f"{origin}, config")
    return launch_config({name: value for name, value in item.items() if name != "mix"}, origin), mix


def launch_config(item: Any, origin: str) -> LaunchConfig:
    """A `LaunchConfig` from JSON; `origin` names the place in errors.

    Raises:
        ConfigFileError: unknown, missing or impossible values.
    """
    if not isinstance(item, dict):
        raise ConfigFileError(f"{origin}: config must be an object, got {item!r}")
    item = _ABSENT | item
    _known(item, set(_ALLOWED), f"{origin}, config")
    for name, choices in _ALLOWED.items():
        _one_of(item, name, choices, f"{origin}, config")
    return LaunchConfig(**{name: item[name] for name in _ALLOWED})


def launchable(config: LaunchConfig) -> bool:
    """Whether a file may hold this configuration."""
    return all(getattr(config, name) in choices for name, choices in _ALLOWED.items())


def same_order(one: LaunchConfig, other: LaunchConfig) -> bool:
    """Whether two configurations add a row's terms in one order, README "Batch invariance"."""
    return _fixed(one) == _fixed(other)


def _check_together(entries: tuple[TunedEntry, ...], origin: str) -> None:
    """No entry twice, and one order of sums for a bucket whatever the number of sources."""
    seen: dict[tuple[Bucket, int], TunedEntry] = {}
    for entry in entries:
        if (entry.bucket, entry.sources) in seen:
            raise ConfigFileError(f"{origin} has two entries for {entry.bucket}, {entry.sources} sources")
        for (bucket, _), other in seen.items():
            if bucket == entry.bucket and _fixed(other.config) != _fixed(entry.config):
                raise ConfigFileError(
                    f"{origin}: entries for {bucket} may differ in {', '.join(_FREE[:-1])} and {_FREE[-1]} alone, "
                    "or a row's bits would depend on how many sources its batch has"
                )
        seen[entry.bucket, entry.sources] = entry


def _fixed(config: LaunchConfig) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(LaunchConfig) if field.name not in _FREE}


def _known(item: dict[str, Any], names: set[str], origin: str) -> None:
    unknown = sorted(item.keys() - names)
    if unknown:
        raise ConfigFileError(f"{origin} has unknown {', '.join(unknown)}; known are {', '.join(sorted(names))}")


def _one_of(item: dict[str, Any], name: str, choices: tuple[Any, ...], origin: str) -> None:
    value = item.get(name)
    # True is 1 to Python, but not to whoever reads the file
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ConfigFileError(f"{origin}: {name} must be one of {', '.join(map(repr, choices))}, got {value!r}")

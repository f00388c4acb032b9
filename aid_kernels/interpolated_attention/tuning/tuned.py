"""Tuned configuration of a call: the nearest entry of the GPU's file, for the launch and for `auto`'s choice."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..inputs import AttentionInputs
from .files import Bucket, TunedEntry, load, own_directory
from .targets import gpu_name, target_of
from .tile_sizes import MAX_UNROLLED, LaunchConfig, static_config

# doublings of a length within which a measurement still tells which implementation is faster
NEAR = 1


@dataclass(frozen=True)
class TunedConfig:
    """The nearest measurement to a call.

    Attributes:
        config: tiles and launch options of the kernel.
        mix: inner only, when keys are mixed; None: by their number.
        entry: where the two come from.
        auto: "triton" or "sdpa"; None where lengths or sources are too far from what was measured.
    """

    config: LaunchConfig
    mix: str | None
    entry: TunedEntry
    auto: str | None


def tuned_for(mode: str, inputs: AttentionInputs) -> TunedConfig | None:
    """The nearest measurement on the inputs' GPU; None without one. Reads shapes and dtype, never the GPU.

    Raises:
        ConfigFileError: the GPU's file is not as it should be.
    """
    query = inputs.query
    gpu = gpu_name(query.device)
    if gpu is None:
        return None
    bucket = Bucket(
        mode=mode,
        dtype=str(query.dtype).removeprefix("torch."),
        head_dim=query.shape[3],
        query_length=query.shape[2],
        key_length=max(inputs.key.shape[2], inputs.bank_key.shape[2]),
        masked=inputs.masked,
    )
    return _nearest_on(gpu, own_directory(), target_of(query.device), bucket, inputs.plan.num_sources)


@functools.lru_cache(maxsize=4096)
def _nearest_on(gpu: str, directory: str | None, target: str, bucket: Bucket, sources: int) -> TunedConfig | None:
    return nearest(_loaded(gpu, directory), target, bucket, sources)


@functools.lru_cache
def _loaded(gpu: str, directory: str | None) -> tuple[TunedEntry, ...]:
    return load(gpu, directory)


def nearest(entries: Sequence[TunedEntry], target: str, bucket: Bucket, sources: int) -> TunedConfig | None:
    """The nearest of `entries`: same mode, head_dim and masks, 16-bit dtypes alike, lengths compared by doublings.

    The bucket is chosen first, by all but the number of sources: batch invariance.
    """
    alike = [entry for entry in entries if _comparable(entry.bucket, bucket)]
    if not alike:
        return None
    best = min((entry.bucket for entry in alike), key=lambda other: _distance(other, bucket))
    within = [entry for entry in alike if entry.bucket == best]
    # inner is one term, whatever the number of sources
    same_kind = [entry for entry in within if bucket.mode == "inner" or _many(entry.sources) == _many(sources)]
    entry = min(same_kind or within, key=lambda entry: abs(entry.sources - sources))
    config = entry.config
    if not same_kind:
        # more sources keep one accumulator more alive: how many slices that takes is in the chip's table
        itemsize = 4 if bucket.dtype == "float32" else 2
        usual = static_config(
            target, itemsize, bucket.head_dim, many=_many(sources), masked=bucket.masked,
            inner=bucket.mode == "inner", queries=bucket.query_length, keys=bucket.key_length,
        )  # fmt: skip
        config = replace(config, slices=usual.slices)
    near = max(_steps(best, bucket)) <= NEAR
    return TunedConfig(config, entry.mix, entry, entry.auto if near and same_kind else None)


def describe(entry: TunedEntry) -> str:
    """A measurement in words."""
    bucket = entry.bucket
    return (
        f"triton {entry.triton_ms:.3g} ms, sdpa {entry.sdpa_ms:.3g} ms measured for {bucket.mode}, {bucket.dtype}, "
        f"head_dim {bucket.head_dim}, {bucket.query_length} x {bucket.key_length}"
    )


def _comparable(one: Bucket, other: Bucket) -> bool:
    same = all(getattr(one, name) == getattr(other, name) for name in ("mode", "head_dim", "masked"))
    return same and (one.dtype == "float32") == (other.dtype == "float32")


def _distance(one: Bucket, other: Bucket) -> tuple[int, bool, int, int]:
    """Doublings apart, then whether the dtype is another; ties go to the shorter lengths."""
    return sum(_steps(one, other)), one.dtype != other.dtype, one.query_length, one.key_length


def _steps(one: Bucket, other: Bucket) -> tuple[int, int]:
    return (
        abs(_doublings(one.query_length) - _doublings(other.query_length)),
        abs(_doublings(one.key_length) - _doublings(other.key_length)),
    )


def _doublings(length: int) -> int:
    return max(0, length - 1).bit_length()


def _many(sources: int) -> bool:
    return max(1, sources) > MAX_UNROLLED

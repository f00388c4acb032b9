"""What the tuner tries: ways to launch the kernel, the most promising first, without any that cannot run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from aid_kernels.interpolated_attention.tuning.tile_sizes import LaunchConfig, default_mix, split, static_config

FEW, MANY = 2, 3  # sources: unrolled, and a run-time number of them
# queries x keys of a block, warps; stages are tried for each
_BLOCKS = (
    (128, 128, 8),
    (128, 64, 8),
    (64, 64, 4),
    (128, 64, 4),
    (64, 128, 4),
    (128, 32, 8),
    (64, 32, 4),
    (256, 64, 8),
    (128, 128, 4),
)
_SHORT_BLOCKS = ((64, 64, 4), (64, 32, 4), (32, 64, 4), (32, 32, 2), (16, 64, 2), (128, 64, 8), (128, 32, 8))
_STAGES = (2, 3, 4)
SHORT = 512  # queries: below, small blocks fill the chip
MOST_WARPS = 8
WIDE_HEAD = 96  # columns from which two programs may share a block of queries
NARROW_HEAD = 64  # columns up to which two programs of 8 warps fit where a thread has at most TWO_FIT registers
TWO_FIT = 128
LONG_MIX = 1024  # source keys from which mixing them in the kernel, again for every block of queries, cannot pay


@dataclass(frozen=True)
class Candidate:
    """One way to launch: `LaunchConfig`, and where inner mixes its keys (None for outer)."""

    setting: LaunchConfig
    mix: str | None = None

    def row(self) -> dict[str, object]:
        """Columns that name it, and the `config` of a file."""
        return vars(self.setting) | ({} if self.mix is None else {"mix": self.mix})

    def __str__(self) -> str:
        setting = self.setting
        words = [f"{setting.block_m}x{setting.block_n}", f"{setting.num_warps} warps", f"{setting.num_stages} stages"]
        words += [f"{setting.slices} slices"] * (setting.slices > 1) + ["padded"] * setting.pad
        words += [f"{setting.registers} registers"] * (setting.registers > 0)
        return ", ".join(words + ([] if self.mix is None else [f"mixed {self.mix}"]))


def usual(
    mode: str, target: str, itemsize: int, head_dim: int, query_length: int, key_length: int, sources: int = FEW
) -> Candidate:
    """What runs where nothing was measured."""
    many = mode == "outer" and sources > FEW
    setting = static_config(
        target, itemsize, head_dim, many=many, masked=False, inner=mode == "inner", queries=query_length,
        keys=key_length,
    )  # fmt: skip
    mix = None if mode == "outer" else default_mix(query_length, key_length)
    return Candidate(setting, mix)


def candidates(
    mode: str, target: str, itemsize: int, head_dim: int, query_length: int, key_length: int
) -> list[Candidate]:
    """For one or two sources: the usual one first, then blocks, warps, stages, slices, padding, the place of mixing."""
    first = usual(mode, target, itemsize, head_dim, query_length, key_length)
    found = {first: None}
    mixes = [first.mix]
    if mode == "inner" and key_length <= LONG_MIX:
        mixes += ["fused" if first.mix == "before" else "before"]
        found |= dict.fromkeys(replace(first, mix=mix) for mix in mixes)
    pads = (False, True) if itemsize == 2 and split(head_dim) != split(head_dim, pad=True) else (False,)
    found |= dict.fromkeys(replace(first, setting=replace(first.setting, pad=pad)) for pad in pads)
    for setting, mix in itertools.product(_settings(first.setting, head_dim, query_length), mixes):
        found |= dict.fromkeys(Candidate(replace(setting, pad=pad), mix) for pad in pads)
    return list(found)


def for_many(chosen: Candidate) -> list[Candidate]:
    """For more sources: only what leaves the order of a row's sums as `chosen` has it."""
    setting = chosen.setting
    slices = [count for count in (1, 2, 4) if count >= setting.slices]
    stages = sorted({setting.num_stages, max(1, setting.num_stages - 1)}, reverse=True)
    return [
        replace(chosen, setting=replace(setting, slices=count, num_stages=depth))
        for count, depth in itertools.product(slices, stages)
    ]


def _settings(first: LaunchConfig, head_dim: int, query_length: int) -> Iterator[LaunchConfig]:
    blocks = _SHORT_BLOCKS if query_length <= SHORT else _BLOCKS
    for stages in _STAGES:
        for block_m, block_n, warps in blocks:
            for slices in (1, 2) if head_dim >= WIDE_HEAD else (1,):
                config = LaunchConfig(block_m, block_n, warps, stages, slices, first.widest)
                yield config
                if warps == MOST_WARPS and head_dim <= NARROW_HEAD:
                    yield replace(config, registers=TWO_FIT)

"""Cycles of a program from the loops it was compiled to: whole blocks, then tails, of every segment of keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import ceil
from statistics import fmean

from aid_kernels.interpolated_attention.tuning.tile_sizes import Tiles, configure, is_short
from benchmarks.common.result_files import RESULTS
from benchmarks.compile_report.chips import Chip
from benchmarks.compile_report.loops import Key, Loop, recorded_loops
from benchmarks.compile_report.specialisations import PROMPT

LOOPS = RESULTS / "compile_report" / "loops.csv"
LONG = 4096  # queries of the recorded kernels, as far as their tiles are concerned


def bounded_cycles(loop: Loop) -> float:
    """One program is as slow as its pipes one after the other; several fill each other's gaps.

    A loop that loads through registers waits for every load, which only the in-order estimate sees.
    """
    overlapped = max(loop.ideal, loop.serial / loop.programs)
    return max(overlapped, loop.in_order) if loop.loads else overlapped


def segment_cycles(loops: Sequence[Loop], tiles: Tiles, keys: int, cycles: Callable[[Loop], float]) -> float:
    """Cycles that one program takes for a segment of so many keys; `cycles` of an iteration."""
    if tiles.short:
        return ceil(keys / tiles.block_n) * fmean(map(cycles, loops))
    whole, left = divmod(keys, tiles.block_n)
    # where the machine code does not tell a loop's keys, loops of blocks and of tails come in turns
    told = any(loop.keys for loop in loops) and tiles.block_n != tiles.tail
    blocks = [loop for loop in loops if loop.keys == tiles.block_n] if told else loops[::2]
    tails = [loop for loop in loops if loop.keys == tiles.tail] if told else loops[1::2]
    total = whole * fmean(map(cycles, blocks))
    return total + (ceil(left / tiles.tail) * fmean(map(cycles, tails)) if left else 0.0)


def recorded_cycles(chip: Chip, mode: str, head_dim: int, keys: int) -> float | None:
    """Cycles of a program with many queries for a segment, bf16 and two sources, by the committed loops.csv.

    A head size that was not compiled is as the nearest one, in proportion to its products and exponentials. None: no
    kernel like it is recorded.
    """
    loops, short = _recorded(), f", {PROMPT} keys" if is_short(keys) else ""
    names = [f"inner, premixed{short}"] * (mode == "inner") + [f"outer, J=2{short}"]
    for name in names:
        dims = [key[3] for key in loops if key[:3] == (chip.target, name, "bfloat16")]
        if dims:
            nearest = min(dims, key=lambda dim: (abs(dim - head_dim), dim))
            tiles = configure(
                chip.target, 2, nearest, many=False, masked=False, inner=mode == "inner", queries=LONG, keys=keys
            ).tiles
            share = (head_dim + chip.exp2_width) / (nearest + chip.exp2_width)
            found = loops[chip.target, name, "bfloat16", nearest]
            return share * segment_cycles(found, tiles, keys, bounded_cycles)
    return None


@lru_cache
def _recorded() -> dict[Key, list[Loop]]:
    return recorded_loops(LOOPS)

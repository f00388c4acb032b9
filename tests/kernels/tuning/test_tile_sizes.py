"""The chips' tables: tiles that cover a head, the order of sums, and the kernel's mode."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from aid_kernels.interpolated_attention.tuning import tile_sizes as static
from aid_kernels.interpolated_attention.tuning.tile_sizes import LaunchConfig, fit, kernel_mode


@pytest.mark.parametrize("width", range(8, 257, 8))
def test_tiles_cover_a_head_with_little_padding(width: int) -> None:
    main, rest = static.split(width)
    for tile in {main, rest} - {0}:
        assert tile >= 16
        assert tile & (tile - 1) == 0
    assert width <= main + rest <= max(16, width * 4 / 3)
    assert max(static.split(width, widest=128)) <= 128
    assert sum(static.split(width, widest=128)) == main + rest
    assert (main, rest) == {40: (32, 16), 80: (64, 16), 160: (128, 32), 128: (128, 0)}.get(width, (main, rest))


def test_the_order_of_a_rows_sums_does_not_depend_on_the_batch() -> None:
    targets = (*static.TARGETS, static.INTERPRETER)
    kinds = itertools.product(targets, (2, 4), range(8, 257, 8), (False, True), (77, 4096))
    for target, itemsize, dim, masked, keys in kinds:
        few, many = (
            static.configure(
                target, itemsize, dim, many=many, masked=masked, inner=False, queries=4096, keys=keys
            ).tiles
            for many in (False, True)
        )
        assert few.short == many.short == (keys == 77)
        assert (few.block_n, few.tail, few.key_main) == (many.block_n, many.tail, many.key_main)
        assert few.tail <= few.block_n
        for tiles in (few, many):
            assert tiles.slices * tiles.value_dim >= dim
            assert tiles.value_dim <= tiles.value_main + tiles.value_rest
            # where every slice starts, as the kernel has it: no gap, and the last one ends with the head
            starts = [part * ((dim - tiles.value_dim) // max(1, tiles.slices - 1)) for part in range(tiles.slices)]
            assert starts[-1] + tiles.value_dim == dim
            assert all(start % 8 == 0 for start in starts)
            assert all(after - before <= tiles.value_dim for before, after in itertools.pairwise(starts))


def test_few_queries_are_taken_by_half_programs() -> None:
    many, few = (
        static.configure("sm_90", 2, 160, many=False, masked=False, inner=False, queries=queries, keys=4096)
        for queries in (4096, 64)
    )
    assert (many.tiles.block_m, many.num_warps) == (128, 8)
    assert (few.tiles.block_m, few.num_warps) == (64, 4)
    assert replace(few.tiles, block_m=128) == many.tiles


def test_registers_are_capped_where_that_lets_two_programs_in() -> None:
    for many, masked, expected in ((False, False, 128), (True, False, 0), (False, True, 128)):
        fitted = static.configure("sm_90", 2, 64, many=many, masked=masked, inner=False, queries=4096, keys=77)
        assert fitted.registers == expected


def test_padding_is_a_choice() -> None:
    padded = fit("sm_90", 80, LaunchConfig(16, 16, 4, 2, pad=True), 4096).tiles
    assert (padded.key_main, padded.key_rest) == (128, 0)
    padded = fit("sm_90", 160, LaunchConfig(16, 16, 4, 2, pad=True, widest=128), 4096).tiles
    assert (padded.key_main, padded.key_rest) == (128, 128)


@pytest.mark.parametrize(
    ("mode", "queries", "length", "mix", "expected"),
    [
        ("outer", 64, 77, None, "outer"),
        ("outer", 4096, 4096, None, "outer"),
        ("inner", 64, 128, None, "inner_fused"),
        ("inner", 64, 129, None, "inner_premixed"),
        ("inner", 4096, 77, None, "inner_premixed"),
        ("inner", 64, 77, "before", "inner_premixed"),
        ("inner", 4096, 4096, "fused", "inner_fused"),
    ],
)
def test_inner_mixes_short_keys_of_few_queries_in_the_kernel_unless_told(
    mode: str, queries: int, length: int, mix: str | None, expected: str
) -> None:
    assert kernel_mode(mode, queries, length, mix) == expected

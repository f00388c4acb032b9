"""Fused attention kernel: all rows of a batch in one launch, outer and inner, equations (1)-(9) of the op's README."""

# mypy: ignore-errors
# (Triton's language, which only looks like Python)

from __future__ import annotations

import triton
import triton.language as tl

from .tile_ops import LOWEST, any_visible, attend, load_tile, store_tile, view_entry, view_from, view_head


@triton.jit
def zeros(TILES: tl.constexpr):
    """Two accumulators; where one covers all columns, the second is a number that nothing reads."""
    BLOCK: tl.constexpr = TILES.block_m
    MAIN: tl.constexpr = TILES.value_main
    REST: tl.constexpr = TILES.value_rest
    if REST:
        return tl.zeros([BLOCK, MAIN], tl.float32), tl.zeros([BLOCK, REST], tl.float32)
    else:
        return tl.zeros([BLOCK, MAIN], tl.float32), 0.0


@triton.jit
def times_sign(tile, SIGN: tl.constexpr, TILES: tl.constexpr):
    """The tile times 1, -1 or 0; in float32 for the interpreter, which multiplies bfloat16 as bit patterns."""
    if SIGN == 1:
        return tile
    elif TILES.upcast:
        return (tile.to(tl.float32) * SIGN).to(tile.dtype)
    else:
        return tile * SIGN


@triton.jit
def load_query(view, first, positions, inside, SIGN: tl.constexpr, TILES: tl.constexpr):
    """The tiles of a block of queries, times the scale's sign; the second is the first where one is enough."""
    # [BLOCK_M, key_main]
    main = load_tile(view, first, positions, inside, 0, TILES.key_main, TILES.head_dim)
    main = times_sign(main, SIGN, TILES)
    if TILES.key_rest:
        # [BLOCK_M, key_rest]
        rest = load_tile(view, first, positions, inside, TILES.key_main, TILES.key_rest, TILES.head_dim)
        return main, times_sign(rest, SIGN, TILES)
    else:
        return main, main


@triton.jit
def at_entry(view, entry, TILES: tl.constexpr):
    """The view of keys or values at a bank entry."""
    if TILES.descriptors:
        return view[0], entry, view[2]
    else:
        return view_entry(view, entry)


@triton.jit
def load_term(sources, weights, slot, place, interpolated, bank_length, MODE: tl.constexpr):
    """Bank entry, share and length of one term of (8). A plain row is one term: share 1 of its own keys alone."""
    if MODE == "outer":
        entry = tl.load(sources + slot, mask=interpolated, other=0)
        share = tl.load(weights + slot, mask=interpolated, other=0.0)
        length = tl.where(share != 0, bank_length, 0)
        return entry, tl.where(interpolated, share, tl.where(slot == 0, 1.0, 0.0)), length
    else:
        # inner: one term, its keys already mixed (in the schedule's order) or still to be
        entry = tl.where(interpolated, place, 0)
        if MODE == "inner_fused":
            entry = place * 0
        return entry, tl.full([], 1.0, tl.float32), tl.where(interpolated, bank_length, 0)


@triton.jit
def add_term(
    result, own, own_seen, query, segment, mix, share, scale,
    EVEN: tl.constexpr, MIXED: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """`result` plus `share` times the attention to the own keys and the segment: resume (7), then merge (8)."""
    _, l_i, main, rest = attend(own, query, segment, mix, scale, EVEN, MIXED, TILES)
    # a select, not a product with zero: a term without weight, or that sees nothing, must not matter
    counts = (own_seen | any_visible(segment[2], mix, segment[3], MIXED)) & (share != 0)
    # [BLOCK_M, 1]
    factor = (share / l_i)[:, None]
    main = tl.where(counts, tl.fma(main, tl.zeros_like(main) + factor, result[0]), result[0])
    if TILES.value_rest:
        rest = tl.where(counts, tl.fma(rest, tl.zeros_like(rest) + factor, result[1]), result[1])
    else:
        rest = result[1]
    return main, rest


@triton.jit(
    do_not_specialize=[
        "batch", "heads", "query_length", "key_length", "bank_length", "num_sources",
        "key_mask_batch", "bank_mask_batch",
    ]
)  # fmt: skip
def attention_kernel(
    query, key, value, output, bank_key, bank_value, key_mask, bank_mask, sources, weights, schedule,
    query_batch, query_head, query_step, key_batch, key_head, key_step, value_batch, value_head, value_step,
    output_batch, output_head, output_step,
    bank_key_batch, bank_key_head, bank_key_step, bank_value_batch, bank_value_head, bank_value_step,
    key_mask_batch, bank_mask_batch,
    batch, heads, query_length, key_length, bank_length, num_sources, scale,
    MODE: tl.constexpr, SLOTS: tl.constexpr, FUSE_SELF: tl.constexpr, SIGN: tl.constexpr,
    EVEN: tl.constexpr, BANK_EVEN: tl.constexpr, STRIDE_UNIT: tl.constexpr, USE_INT64: tl.constexpr,
    TILES: tl.constexpr,
):  # fmt: skip
    """One (head, row, block of queries, slice of value columns); `scale` is log2(e) times the logits' scale, above 0.

    MODE: "outer"; "inner_premixed", mixed keys and values in `bank_key`, `bank_value`; "inner_fused", mixed here.
    SLOTS: terms of every row, unrolled; 0: `num_sources` of them, a loop that keeps one accumulator more alive.
    """
    BLOCK: tl.constexpr = TILES.block_m
    MIXED: tl.constexpr = MODE == "inner_fused"
    # interpolated rows first, then plain ones; either by head, row, block: a head's shared sources stay in L2
    pid = tl.program_id(0)
    part = pid % TILES.slices
    pid = pid // TILES.slices
    blocks = tl.cdiv(query_length, BLOCK)
    busy = tl.load(schedule + batch)
    interpolated = pid < busy * heads * blocks
    pid -= tl.where(interpolated, 0, busy * heads * blocks)
    rows = tl.where(interpolated, busy, batch - busy)
    head = pid // (rows * blocks)
    place = pid // blocks % rows + tl.where(interpolated, 0, busy)
    first = pid % blocks * BLOCK
    row = tl.load(schedule + place)

    # where D does not divide into multiples of 8, slices overlap and write the same bits
    column = 0
    if TILES.slices > 1:
        column = part * ((TILES.head_dim - TILES.value_dim) // (TILES.slices - 1))
    own_query = view_entry(view_head(query, query_batch, query_head, query_step, head, STRIDE_UNIT, USE_INT64), row)
    if TILES.descriptors:
        own_key, own_value = (key, row, head), (value, row, head)
        all_keys, all_values = (bank_key, 0, head), (bank_value, 0, head)
    else:
        own_key = view_entry(view_head(key, key_batch, key_head, key_step, head, STRIDE_UNIT, USE_INT64), row)
        own_value = view_entry(view_head(value, value_batch, value_head, value_step, head, STRIDE_UNIT, USE_INT64), row)
        own_value = view_from(own_value, column)
        all_keys = view_head(bank_key, bank_key_batch, bank_key_head, bank_key_step, head, STRIDE_UNIT, USE_INT64)
        all_values = view_head(
            bank_value, bank_value_batch, bank_value_head, bank_value_step, head, STRIDE_UNIT, USE_INT64
        )
        all_values = view_from(all_values, column)
    own_output = view_entry(
        view_head(output, output_batch, output_head, output_step, head, STRIDE_UNIT, USE_INT64), row
    )
    own_output = view_from(own_output, column)
    sources += tl.cast(row, tl.int64) * num_sources
    weights += tl.cast(row, tl.int64) * num_sources
    mix = sources, weights, num_sources

    positions = tl.arange(0, BLOCK)
    inside = positions < query_length - first
    q = load_query(own_query, first, positions, inside, SIGN, TILES)

    # the own keys, which every term shares: state (5) after them
    own_length = key_length
    if not FUSE_SELF:
        own_length = tl.where(interpolated, 0, key_length)
    main, rest = zeros(TILES)
    own = tl.full([BLOCK], LOWEST, tl.float32), tl.zeros([BLOCK], tl.float32), main, rest
    own_mask = key_mask, key_mask_batch, row
    own = attend(own, q, (own_key, own_value, own_mask, own_length), mix, scale, EVEN, False, TILES)
    own_seen = any_visible(own_mask, mix, own_length, False)

    result = zeros(TILES)
    if SLOTS:
        for slot in tl.static_range(SLOTS):
            entry, share, length = load_term(sources, weights, slot, place, interpolated, bank_length, MODE)
            mask = bank_mask, bank_mask_batch, entry
            segment = at_entry(all_keys, entry, TILES), at_entry(all_values, entry, TILES), mask, length
            result = add_term(result, own, own_seen, q, segment, mix, share, scale, BANK_EVEN, MIXED, TILES)
    else:
        for slot in range(num_sources):
            entry, share, length = load_term(sources, weights, slot, place, interpolated, bank_length, MODE)
            mask = bank_mask, bank_mask_batch, entry
            segment = at_entry(all_keys, entry, TILES), at_entry(all_values, entry, TILES), mask, length
            result = add_term(result, own, own_seen, q, segment, mix, share, scale, BANK_EVEN, MIXED, TILES)

    store_tile(own_output, first, positions, inside, result[0], 0, TILES.value_main, TILES.value_dim)
    if TILES.value_rest:
        store_tile(own_output, first, positions, inside, result[1], TILES.value_main, TILES.value_rest, TILES.value_dim)

"""Mixing kernel: inner attention's interpolated keys and values, equation (3), once for all query blocks."""

# mypy: ignore-errors
# (Triton's language, which only looks like Python)

from __future__ import annotations

import triton
import triton.language as tl

from .pack import MASK_ALIGN
from .tile_ops import WORD, load_words, mix_tile, store_tile, view_entry, view_head


@triton.jit(do_not_specialize=["heads", "length", "num_sources", "bank_mask_batch", "mixed_mask_batch"])
def lerp_kernel(
    bank_key, bank_value, bank_mask, mixed_key, mixed_value, mixed_mask, sources, weights, schedule,
    bank_key_batch, bank_key_head, bank_key_step, bank_value_batch, bank_value_head, bank_value_step,
    bank_mask_batch, mixed_key_batch, mixed_key_head, mixed_key_step,
    mixed_value_batch, mixed_value_head, mixed_value_step, mixed_mask_batch,
    heads, length, num_sources,
    HEAD_DIM: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    STRIDE_UNIT: tl.constexpr, USE_INT64: tl.constexpr,
):  # fmt: skip
    """One block of one head of the interpolated row at a place of the schedule; by place, head, block.

    All along the grid's first axis: CUDA takes 65,535 along the others.
    """
    pid = tl.program_id(0)
    blocks = tl.cdiv(length, BLOCK)
    start = pid % blocks * BLOCK
    head = pid // blocks % heads
    place = pid // (blocks * heads)
    row = tl.load(schedule + place).to(tl.int64)
    mix = sources + row * num_sources, weights + row * num_sources, num_sources
    positions = tl.arange(0, BLOCK)
    inside = positions < length - start
    hidden = bank_mask, bank_mask_batch, 0

    source = view_head(bank_key, bank_key_batch, bank_key_head, bank_key_step, head, STRIDE_UNIT, USE_INT64)
    target = view_entry(
        view_head(mixed_key, mixed_key_batch, mixed_key_head, mixed_key_step, head, STRIDE_UNIT, USE_INT64), place
    )
    # [BLOCK, WIDTH]
    tile = mix_tile(source, hidden, mix, start, positions, inside, 0, WIDTH, HEAD_DIM)
    store_tile(target, start, positions, inside, tile, 0, WIDTH, HEAD_DIM)

    source = view_head(bank_value, bank_value_batch, bank_value_head, bank_value_step, head, STRIDE_UNIT, USE_INT64)
    target = view_entry(
        view_head(mixed_value, mixed_value_batch, mixed_value_head, mixed_value_step, head, STRIDE_UNIT, USE_INT64),
        place,
    )
    tile = mix_tile(source, hidden, mix, start, positions, inside, 0, WIDTH, HEAD_DIM)
    store_tile(target, start, positions, inside, tile, 0, WIDTH, HEAD_DIM)

    if bank_mask is not None:
        # heads share the mask: the first one's programs write it, up to a whole row of words; where two write the same
        # word they write the same number
        words = start // WORD + tl.arange(0, MASK_ALIGN)
        inside = words < tl.where(head == 0, mixed_mask_batch, 0)
        seen = load_words(hidden, mix, words, inside, True)
        tl.store(mixed_mask + tl.cast(place, tl.int64) * mixed_mask_batch + words, seen, mask=inside)

"""Packing kernel: a mask of keys as bits, 32 to a word, so that a block of keys costs a program one load per word."""

# mypy: ignore-errors
# (Triton's language, which only looks like Python)

from __future__ import annotations

import triton
import triton.language as tl

from .tile_ops import WORD

# a row of words is a multiple of so many, which is as many as a block of keys can have
MASK_ALIGN = tl.constexpr(4)
# words that a program makes
PACK_BLOCK = tl.constexpr(32)


@triton.jit(do_not_specialize=["length"])
def pack_kernel(mask, bits, mask_batch, mask_step, bits_batch, length):
    """One block of words of one row; bits past the end of the row are 0."""
    blocks = tl.cdiv(bits_batch, PACK_BLOCK)
    row = tl.cast(tl.program_id(0) // blocks, tl.int64)
    words = tl.program_id(0) % blocks * PACK_BLOCK + tl.arange(0, PACK_BLOCK)
    places = tl.arange(0, WORD)
    # [PACK_BLOCK, WORD]
    positions = words[:, None] * WORD + places[None, :]
    pointers = mask + row * mask_batch + positions * tl.cast(mask_step, tl.int64)
    seen = (tl.load(pointers, mask=positions < length, other=0) != 0).to(tl.int32)
    tl.store(bits + row * bits_batch + words, tl.xor_sum(seen << places[None, :], 1), mask=words < bits_batch)

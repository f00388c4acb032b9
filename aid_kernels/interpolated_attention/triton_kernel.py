"""The fused kernel: every row of a batch in one launch, equations (1)-(8) of this folder's README.

A program serves one (head, row, block of queries). It attends to the row's own keys first, then resumes that state over
each of the row's sources, so the own keys are read once for all terms: J + 1 units of work, equation (9).
"""

from __future__ import annotations

import triton
import triton.language as tl

# start of the running maximum: finite, so that a wholly masked block leaves the state as it is, without a guard
LOWEST = tl.constexpr(-3.0e38)


@triton.jit
def tile(base, positions, step, length, COLUMNS: tl.constexpr, FIRST: tl.constexpr, WIDTH: tl.constexpr, BOUNDED: tl.constexpr):
    """[positions, WIDTH] from column FIRST on, zero beyond COLUMNS and, if BOUNDED, beyond `length` positions."""
    columns = FIRST + tl.arange(0, WIDTH)
    pointers = base + positions[:, None] * step + columns[None, :]
    if BOUNDED and FIRST + WIDTH > COLUMNS:
        return tl.load(pointers, mask=(positions < length)[:, None] & (columns < COLUMNS)[None, :], other=0.0)
    elif BOUNDED:
        return tl.load(pointers, mask=(positions < length)[:, None], other=0.0)
    elif FIRST + WIDTH > COLUMNS:
        return tl.load(pointers, mask=(columns < COLUMNS)[None, :], other=0.0)
    else:
        return tl.load(pointers)


@triton.jit
def mixed_tile(
    base, batch_step, sources, weights, num_sources, positions, step, length,
    SLOTS: tl.constexpr, COLUMNS: tl.constexpr, FIRST: tl.constexpr, WIDTH: tl.constexpr, BOUNDED: tl.constexpr,
):  # fmt: skip
    """[positions, WIDTH] of the weighted sum of a row's sources, equation (3): float32 math, one rounding."""
    total = tl.zeros([positions.shape[0], WIDTH], tl.float32)
    if SLOTS:
        for slot in tl.static_range(SLOTS):
            total = _add_source(total, base, batch_step, sources + slot, weights + slot, positions, step, length, COLUMNS, FIRST, WIDTH, BOUNDED)
    else:
        for slot in range(num_sources):
            total = _add_source(total, base, batch_step, sources + slot, weights + slot, positions, step, length, COLUMNS, FIRST, WIDTH, BOUNDED)
    return total.to(base.dtype.element_ty)


@triton.jit
def _add_source(total, base, batch_step, source, weight, positions, step, length, COLUMNS: tl.constexpr, FIRST: tl.constexpr, WIDTH: tl.constexpr, BOUNDED: tl.constexpr):
    share = tl.load(weight)
    part = tile(base + tl.load(source).to(tl.int64) * batch_step, positions, step, tl.where(share != 0, length, 0), COLUMNS, FIRST, WIDTH, True)
    # a select, not a product: what a source of weight zero holds must not matter
    return tl.where(share != 0, tl.fma(part.to(tl.float32), share, total), total)


@triton.jit
def _step(
    peak, norm, acc1, acc2, q1, q2, key, value, mask, key_step, value_step, mask_step, start, length, scale,
    batch_steps, sources, weights, num_sources,
    BLOCK: tl.constexpr, BOUNDED: tl.constexpr, WIDE: tl.constexpr, MIXED: tl.constexpr, SLOTS: tl.constexpr,
    D: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr, V: tl.constexpr, V1: tl.constexpr, V2: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    pass

"""Device helpers: tiles of keys and values, mixed or not, and the online softmax over a segment, equations (5)-(7).

A view is (pointer, batch step, position step); where TILES.descriptors, of keys and values (tensor descriptor, batch or
bank entry, head). A segment is (keys, values, mask, length): two views of its batch or
bank entry, and of its mask (pointer to packed bits or None, batch step, entry). If MIXED, the segment is the weighted
sum (3) of a row's sources: its entries are 0, and a mix (sources, weights, count) of that row comes along. A state is
FlashAttention's (m_i, l_i, accumulator), the accumulator in two tiles, main and rest.
"""

# mypy: ignore-errors
# (Triton's language, which only looks like Python)

from __future__ import annotations

import triton
import triton.language as tl

# where the running maximum starts: float32's lowest, not -inf, so that a block with nothing visible leaves the state as
# it is, unguarded; no finite logit is below it
LOWEST = tl.constexpr(-3.4028234663852886e38)
# positions of a word of a packed mask, and words read at once when asking whether any is visible
WORD = tl.constexpr(32)
MASK_BLOCK = tl.constexpr(128)


@triton.jit
def view_head(pointer, batch_step, head_step, step, head, STRIDE_UNIT: tl.constexpr, USE_INT64: tl.constexpr):
    """The view of one head; steps in units of STRIDE_UNIT elements, so that the compiler sees how rows are aligned."""
    pointer += tl.cast(head, tl.int64) * head_step * STRIDE_UNIT
    if USE_INT64:
        step = tl.cast(step, tl.int64)
    return pointer, tl.cast(batch_step, tl.int64) * STRIDE_UNIT, step * STRIDE_UNIT


@triton.jit
def view_entry(view, entry):
    """The same view of batch or bank entry `entry`."""
    return view[0] + tl.cast(entry, tl.int64) * view[1], view[1], view[2]


@triton.jit
def view_from(view, column):
    """The same view from another column on."""
    return view[0] + column, view[1], view[2]


@triton.jit
def tile_pointers(view, start, positions, columns):
    """[positions, columns] pointers; int32 offsets within a tile unless the view's step is int64."""
    return view[0] + tl.cast(start, tl.int64) * view[2] + (positions[:, None] * view[2] + columns[None, :])


@triton.jit
def load_tile(view, start, positions, inside, FIRST: tl.constexpr, WIDTH: tl.constexpr, END: tl.constexpr):
    """[positions, WIDTH] from column FIRST; zero from column END on and, unless that is None, where not `inside`."""
    columns = FIRST + tl.arange(0, WIDTH)
    pointers = tile_pointers(view, start, positions, columns)
    PADDED: tl.constexpr = FIRST + WIDTH > END
    if inside is None:
        if PADDED:
            return tl.load(pointers, mask=(columns < END)[None, :], other=0.0)
        else:
            return tl.load(pointers)
    else:
        if PADDED:
            return tl.load(pointers, mask=inside[:, None] & (columns < END)[None, :], other=0.0)
        else:
            return tl.load(pointers, mask=inside[:, None], other=0.0)


@triton.jit
def store_tile(
    view, start, positions, inside, tile, FIRST: tl.constexpr, WIDTH: tl.constexpr, END: tl.constexpr
):  # fmt: skip
    """Write columns FIRST to FIRST + WIDTH of [positions, WIDTH], up to column END, where `inside`."""
    columns = FIRST + tl.arange(0, WIDTH)
    pointers = tile_pointers(view, start, positions, columns)
    tl.store(pointers, tile.to(view[0].dtype.element_ty), mask=inside[:, None] & (columns < END)[None, :])


@triton.jit
def mix_tile(
    view, mask, mix, start, positions, inside, FIRST: tl.constexpr, WIDTH: tl.constexpr, END: tl.constexpr
):  # fmt: skip
    """[positions, WIDTH] of the weighted sum (3) of a row's sources: float32 math, rounded once.

    `mask` as in a segment. What it hides is mixed as well, but not where it is inf or NaN.
    """
    sources, weights, count = mix
    total = tl.zeros([positions.shape[0], WIDTH], tl.float32)
    for slot in range(count):
        share = tl.load(weights + slot)
        source = view_entry(view, tl.load(sources + slot))
        part = load_tile(source, start, positions, inside, FIRST, WIDTH, END).to(tl.float32)
        if mask[0] is not None:
            entry = mask[0], mask[1], tl.load(sources + slot)
            visible = load_visible(entry, mix, start, positions.shape[0], False)
            part = tl.where(visible[:, None] | (tl.abs(part) < float("inf")), part, 0.0)
        # a select, not a product with zero: what a source of weight zero holds must not matter
        total = tl.where(share != 0, tl.fma(part, tl.zeros_like(total) + share, total), total)
    return total.to(view[0].dtype.element_ty)


@triton.jit
def load_segment(
    view, mask, mix, start, positions, inside,
    FIRST: tl.constexpr, WIDTH: tl.constexpr, END: tl.constexpr, MIXED: tl.constexpr, DESCRIPTORS: tl.constexpr,
):  # fmt: skip
    if DESCRIPTORS:
        # zeros past the last position and column
        return view[0].load([view[1], view[2], start, 0]).reshape(positions.shape[0], WIDTH)
    elif MIXED:
        return mix_tile(view, mask, mix, start, positions, inside, FIRST, WIDTH, END)
    else:
        return load_tile(view, start, positions, inside, FIRST, WIDTH, END)


@triton.jit
def load_words(mask, mix, words, inside, MIXED: tl.constexpr):
    """Words of a packed mask; if MIXED, keys that are visible at any of the sources of non-zero weight."""
    pointer, batch_step, entry = mask
    pointers = pointer + tl.cast(entry, tl.int64) * batch_step + words
    if MIXED:
        sources, weights, count = mix
        seen = words * 0
        for slot in range(count):
            shift = tl.load(sources + slot).to(tl.int64) * batch_step
            part = tl.load(pointers + shift, mask=inside, other=0)
            seen = tl.where(tl.load(weights + slot) != 0, seen | part, seen)
        return seen
    else:
        return tl.load(pointers, mask=inside, other=0)


@triton.jit
def load_visible(mask, mix, start, BLOCK: tl.constexpr, MIXED: tl.constexpr):
    """[BLOCK] bool: visible and in the segment; `start` is a multiple of BLOCK or of WORD.

    One number for all threads per word: a load of each key's own byte takes a register and an instruction per key.
    """
    positions = tl.arange(0, BLOCK)
    start = tl.cast(start, tl.int32)
    first = start // WORD
    word = load_words(mask, mix, first, True, MIXED)
    for index in tl.static_range(1, BLOCK // WORD):
        word = tl.where(positions < index * WORD, word, load_words(mask, mix, first + index, True, MIXED))
    if BLOCK < WORD:
        positions += start % WORD
    return (word >> positions % WORD) & 1 != 0


@triton.jit
def any_visible(mask, mix, length, MIXED: tl.constexpr):
    """Whether a segment shows anything at all; without a mask, whether it holds anything."""
    if mask[0] is None:
        return length > 0
    else:
        seen = tl.full([], 0, tl.int32)
        words = tl.cdiv(length, WORD)
        for start in range(0, words, MASK_BLOCK):
            block = start + tl.arange(0, MASK_BLOCK)
            part = load_words(mask, mix, block, block < words, MIXED)
            seen = tl.maximum(seen, tl.max((part != 0).to(tl.int32), 0))
        return seen > 0


@triton.jit
def dot(left, right, total, UPCAST: tl.constexpr):
    """`left` @ `right` + `total` in float32; UPCAST for the interpreter, whose dot does not know bfloat16."""
    if UPCAST:
        left = left.to(tl.float32)
        right = right.to(tl.float32)
    return tl.dot(left, right, total, input_precision="ieee")


@triton.jit
def attend_block(
    state, query, segment, mix, start, scale,
    BLOCK: tl.constexpr, BOUNDED: tl.constexpr, MIXED: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """The state after BLOCK more keys from `start` on; BOUNDED if the segment may end among them. Equations (5)-(7)."""
    m_i, l_i, main, rest = state
    key, value, mask, length = segment
    positions = tl.arange(0, BLOCK)
    inside = None
    if BOUNDED:
        inside = positions < length - start

    keys = load_segment(
        key, mask, mix, start, positions, inside, 0, TILES.key_main, TILES.head_dim, MIXED, TILES.descriptors
    )
    # [BLOCK_M, BLOCK]
    logits = dot(query[0], tl.trans(keys), None, TILES.upcast)
    if TILES.key_rest:
        keys = load_segment(
            key, mask, mix, start, positions, inside, TILES.key_main, TILES.key_rest, TILES.head_dim, MIXED, False
        )
        logits = dot(query[1], tl.trans(keys), logits, TILES.upcast)
    if mask[0] is not None:
        visible = load_visible(mask, mix, start, BLOCK, MIXED)
        logits = tl.where(visible[None, :], logits, float("-inf"))
        # hidden values are not read: a product of zero and NaN is not zero
        inside = visible
    elif BOUNDED:
        logits = tl.where(inside[None, :], logits, float("-inf"))

    # [BLOCK_M]
    m_new = tl.maximum(m_i, tl.max(logits, 1) * scale)
    alpha = tl.exp2(m_i - m_new)
    # [BLOCK_M, BLOCK]
    p = tl.exp2(logits * scale - m_new[:, None])
    l_i = l_i * alpha + tl.sum(p, 1)
    p = p.to(query[0].dtype)

    values = load_segment(
        value, mask, mix, start, positions, inside, 0, TILES.value_main, TILES.value_dim, MIXED, TILES.descriptors
    )
    # [BLOCK_M, value_main]
    main = dot(p, values, main * alpha[:, None], TILES.upcast)
    if TILES.value_rest:
        values = load_segment(
            value,
            mask,
            mix,
            start,
            positions,
            inside,
            TILES.value_main,
            TILES.value_rest,
            TILES.value_dim,
            MIXED,
            False,
        )
        # [BLOCK_M, value_rest]
        rest = dot(p, values, rest * alpha[:, None], TILES.upcast)
    return m_new, l_i, main, rest


@triton.jit
def attend(
    state, query, segment, mix, scale, EVEN: tl.constexpr, MIXED: tl.constexpr, TILES: tl.constexpr
):  # fmt: skip
    """The state resumed over a whole segment: full blocks without a bound to check, then short ones with it.

    A segment that may be shorter than a block has one loop, pipelined, that checks the bound in every block.
    """
    BLOCK: tl.constexpr = TILES.block_n
    TAIL: tl.constexpr = TILES.tail
    length = segment[3]
    if TILES.descriptors:
        # on Blackwell each loop's loads, products, exponentials and rescaling go to warps of their own
        for start in tl.range(0, length, BLOCK, warp_specialize=True):
            state = attend_block(state, query, segment, mix, start, scale, BLOCK, not EVEN, MIXED, TILES)
    elif TILES.short:
        BOUNDED: tl.constexpr = MIXED or not EVEN
        for start in range(0, length, BLOCK):
            state = attend_block(state, query, segment, mix, start, scale, BLOCK, BOUNDED, MIXED, TILES)
    else:
        full = length // BLOCK * BLOCK
        for start in range(0, full, BLOCK):
            state = attend_block(state, query, segment, mix, start, scale, BLOCK, MIXED, MIXED, TILES)
        if not EVEN:
            # a loop, where one `if` over a wider tail spills: the two hold other registers. Not pipelined, or ptxas
            # waits for every matrix product of the loop above alone
            for start in tl.range(full, length, TAIL, num_stages=1):
                state = attend_block(state, query, segment, mix, start, scale, TAIL, True, MIXED, TILES)
    return state

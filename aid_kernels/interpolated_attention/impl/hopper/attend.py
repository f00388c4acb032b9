"""Warp-specialised kernel for Hopper: a warp loads by TMA, two warpgroups attend; equations (1), (2), (5)-(8).

A program takes 128 queries of a row and a head. Its loading warp walks the row's segments, its own keys and then each
source's, last block first, and keeps `BUFFERS` blocks of keys and of values ahead. Each consumer, a warpgroup, has 64
of the queries; it starts Q K^T of a block and adds P V of the block before while the exponentials of neither wait for
the tensor cores. A barrier "full" is complete once the copy arrived, "empty" once both consumers have read.

Turn t uses buffer t % BUFFERS for the (t // BUFFERS)-th time; the parity of that is the phase to wait for.
"""

# mypy: ignore-errors
# (Gluon, which only looks like Python)

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)

# where the running maximum starts, as in the Triton kernel: no finite logit is below it
LOWEST = gl.constexpr(-3.4028234663852886e38)
# the name of Triton 3.9, and the one before
copy_in = tma.async_load if hasattr(tma, "async_load") else tma.async_copy_global_to_shared
copy_out = tma.async_store if hasattr(tma, "async_store") else tma.async_copy_shared_to_global


@gluon.jit
def wait_for(barriers, turn, BUFFERS: gl.constexpr):
    """Until the buffer's barrier is complete for this turn."""
    mbarrier.wait(barriers.index(turn % BUFFERS), (turn // BUFFERS) & 1)


@gluon.jit
def wait_until_free(barriers, turn, BUFFERS: gl.constexpr):
    """Until both consumers have read what the buffer held one use before; at its first use at once."""
    mbarrier.wait(barriers.index(turn % BUFFERS), ((turn // BUFFERS) & 1) ^ 1)


@gluon.jit
def load_segment(
    keys, values, entry, head, blocks, turn, k_tiles, v_tiles, k_full, k_empty, v_full, v_empty,
    BLOCK_N: gl.constexpr, BUFFERS: gl.constexpr,
):  # fmt: skip
    """The producer's part of a segment: its blocks of keys and values, last first. Returns the next turn."""
    for back in range(0, blocks):
        first = (blocks - 1 - back) * BLOCK_N
        buffer = turn % BUFFERS
        wait_until_free(k_empty, turn, BUFFERS)
        mbarrier.expect(k_full.index(buffer), keys.block_type.nbytes)
        copy_in(keys, [entry, head, first, 0], k_full.index(buffer), k_tiles.index(buffer))
        wait_until_free(v_empty, turn, BUFFERS)
        mbarrier.expect(v_full.index(buffer), values.block_type.nbytes)
        copy_in(values, [entry, head, first, 0], v_full.index(buffer), v_tiles.index(buffer))
        turn += 1
    return turn


@gluon.jit
def produce(
    query, key, value, bank_key, bank_value, row, head, first, own_blocks, entries, term_blocks,
    q_tiles, k_tiles, v_tiles, q_full, k_full, k_empty, v_full, v_empty,
    HALF: gl.constexpr, BLOCK_N: gl.constexpr, BUFFERS: gl.constexpr, TERMS: gl.constexpr,
):  # fmt: skip
    """The loading warp: both halves of the queries, then every segment in the consumers' order."""
    for half in gl.static_range(2):
        mbarrier.expect(q_full.index(half), query.block_type.nbytes)
        copy_in(query, [row, head, first + half * HALF, 0], q_full.index(half), q_tiles.index(half))
    turn = 0
    turn = load_segment(
        key, value, row, head, own_blocks, turn, k_tiles, v_tiles, k_full, k_empty, v_full, v_empty, BLOCK_N, BUFFERS
    )
    for term in gl.static_range(TERMS):
        turn = load_segment(
            bank_key, bank_value, entries[term], head, term_blocks[term], turn, k_tiles, v_tiles, k_full, k_empty,
            v_full, v_empty, BLOCK_N, BUFFERS,
        )  # fmt: skip


@gluon.jit
def first_logits(q, k, nothing, length, blocks, EVEN: gl.constexpr, BLOCK_N: gl.constexpr, LOGITS: gl.constexpr):
    """[HALF, BLOCK_N] logits of a segment's last block, which alone may reach past its end."""
    logits = warpgroup_mma(q, k, nothing, use_acc=False, is_async=True)
    logits = warpgroup_mma_wait(0, deps=(logits,))
    if not EVEN:
        positions = (blocks - 1) * BLOCK_N + gl.arange(0, BLOCK_N, gl.SliceLayout(0, LOGITS))
        logits = gl.where((positions < length)[None, :], logits, float("-inf"))
    return logits


@gluon.jit
def weigh(logits, m_i, l_i, scale, DTYPE: gl.constexpr, OPERAND: gl.constexpr):
    """Equation (6) for a block's logits: p as the operand of P V, alpha, m and l."""
    m_new = gl.maximum(m_i, gl.max(logits, 1) * scale)
    p = gl.exp2(logits * scale - m_new[:, None])
    alpha = gl.exp2(m_i - m_new)
    l_i = l_i * alpha + gl.sum(p, 1)
    return gl.convert_layout(p.to(DTYPE), OPERAND), alpha, m_new, l_i


@gluon.jit
def attend_segment(
    q, m_i, l_i, acc, length, blocks, turn, scale, k_tiles, v_tiles, k_full, k_empty, v_full, v_empty,
    EVEN: gl.constexpr, HALF: gl.constexpr, BLOCK_N: gl.constexpr, HEAD_DIM: gl.constexpr, BUFFERS: gl.constexpr,
    DTYPE: gl.constexpr, LOGITS: gl.constexpr, RESULT: gl.constexpr,
):  # fmt: skip
    """The state (m, l, acc) resumed over a segment of at least one block, and the next turn."""
    OPERAND: gl.constexpr = gl.DotOperandLayout(0, RESULT, 2)
    ROWS: gl.constexpr = gl.SliceLayout(1, RESULT)
    nothing = gl.zeros([HALF, BLOCK_N], gl.float32, LOGITS)

    wait_for(k_full, turn, BUFFERS)
    k = k_tiles.index(turn % BUFFERS).reshape([BLOCK_N, HEAD_DIM]).permute((1, 0))
    logits = first_logits(q, k, nothing, length, blocks, EVEN, BLOCK_N, LOGITS)
    mbarrier.arrive(k_empty.index(turn % BUFFERS), count=1)
    p, alpha, m_i, l_i = weigh(logits, m_i, l_i, scale, DTYPE, OPERAND)
    acc = acc * gl.convert_layout(alpha, ROWS)[:, None]

    for _ in range(1, blocks):
        before = turn
        turn += 1
        wait_for(k_full, turn, BUFFERS)
        k = k_tiles.index(turn % BUFFERS).reshape([BLOCK_N, HEAD_DIM]).permute((1, 0))
        logits = warpgroup_mma(q, k, nothing, use_acc=False, is_async=True)
        wait_for(v_full, before, BUFFERS)
        acc = warpgroup_mma(p, v_tiles.index(before % BUFFERS).reshape([BLOCK_N, HEAD_DIM]), acc, is_async=True)
        # all but the last started: the logits are there, P V goes on
        logits = warpgroup_mma_wait(1, deps=(logits,))
        mbarrier.arrive(k_empty.index(turn % BUFFERS), count=1)
        p_next, alpha, m_i, l_i = weigh(logits, m_i, l_i, scale, DTYPE, OPERAND)
        # p is named, since its registers are read until here
        acc, p = warpgroup_mma_wait(0, deps=(acc, p))
        mbarrier.arrive(v_empty.index(before % BUFFERS), count=1)
        acc = acc * gl.convert_layout(alpha, ROWS)[:, None]
        p = p_next

    wait_for(v_full, turn, BUFFERS)
    acc = warpgroup_mma(p, v_tiles.index(turn % BUFFERS).reshape([BLOCK_N, HEAD_DIM]), acc, is_async=True)
    acc = warpgroup_mma_wait(0, deps=(acc,))
    mbarrier.arrive(v_empty.index(turn % BUFFERS), count=1)
    return m_i, l_i, acc, turn + 1


@gluon.jit
def consume(
    half: gl.constexpr, output, row, head, first, own_length, own_blocks, bank_length, term_blocks, shares, scale,
    q_tiles, k_tiles, v_tiles, q_full, k_full, k_empty, v_full, v_empty,
    HALF: gl.constexpr, BLOCK_N: gl.constexpr, HEAD_DIM: gl.constexpr, BUFFERS: gl.constexpr, TERMS: gl.constexpr,
    EVEN: gl.constexpr, BANK_EVEN: gl.constexpr,
):  # fmt: skip
    """A warpgroup: attention of its 64 queries to the own keys, resumed over each source (7), merged by (8)."""
    DTYPE: gl.constexpr = output.dtype
    LOGITS: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    RESULT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, HEAD_DIM, 16])
    ROWS: gl.constexpr = gl.SliceLayout(1, RESULT)
    q_tile = q_tiles.index(half)
    q = q_tile.reshape([HALF, HEAD_DIM])
    mbarrier.wait(q_full.index(half), 0)

    m_i = gl.full([HALF], LOWEST, gl.float32, gl.SliceLayout(1, LOGITS))
    l_i = gl.zeros([HALF], gl.float32, gl.SliceLayout(1, LOGITS))
    acc = gl.zeros([HALF, HEAD_DIM], gl.float32, RESULT)
    turn = 0
    if own_blocks > 0:
        m_i, l_i, acc, turn = attend_segment(
            q, m_i, l_i, acc, own_length, own_blocks, turn, scale, k_tiles, v_tiles, k_full, k_empty, v_full, v_empty,
            EVEN, HALF, BLOCK_N, HEAD_DIM, BUFFERS, DTYPE, LOGITS, RESULT,
        )  # fmt: skip
    result = gl.zeros([HALF, HEAD_DIM], gl.float32, RESULT)
    for term in gl.static_range(TERMS):
        m_t = m_i
        l_t = l_i
        acc_t = acc
        if term_blocks[term] > 0:
            m_t, l_t, acc_t, turn = attend_segment(
                q, m_t, l_t, acc_t, bank_length, term_blocks[term], turn, scale, k_tiles, v_tiles, k_full, k_empty,
                v_full, v_empty, BANK_EVEN, HALF, BLOCK_N, HEAD_DIM, BUFFERS, DTYPE, LOGITS, RESULT,
            )  # fmt: skip
        # a select, not a product with zero: what a term without weight holds must not matter
        if shares[term] != 0:
            result += acc_t * gl.convert_layout(shares[term] / l_t, ROWS)[:, None]

    # both consumers' queries lie apart, and this one's have been read
    q_tile.store(result.to(DTYPE).reshape([1, 1, HALF, HEAD_DIM]))
    fence_async_shared()
    copy_out(output, [row, head, first + half * HALF, 0], q_tile)
    tma.store_wait(0)


@gluon.jit
def load_terms(sources, weights, row, interpolated, bank_blocks, num_sources, TERMS: gl.constexpr):
    """Entry, blocks and share of every term of (8). A plain row is one term: share 1 of its own keys alone."""
    sources += row.to(gl.int64) * num_sources
    weights += row.to(gl.int64) * num_sources
    entry = gl.load(sources, mask=interpolated, other=0)
    share = gl.load(weights, mask=interpolated, other=0.0)
    blocks = gl.where(share != 0, bank_blocks, 0)
    share = gl.where(interpolated, share, 1.0)
    if TERMS == 1:
        return (entry,), (blocks,), (share,)
    else:
        next_entry = gl.load(sources + 1, mask=interpolated, other=0)
        next_share = gl.load(weights + 1, mask=interpolated, other=0.0)
        next_blocks = gl.where(next_share != 0, bank_blocks, 0)
        return (entry, next_entry), (blocks, next_blocks), (share, next_share)


@gluon.jit(do_not_specialize=["batch", "heads", "query_length", "key_length", "bank_length", "num_sources"])
def attention_kernel(
    query, key, value, bank_key, bank_value, output, sources, weights, schedule,
    batch, heads, query_length, key_length, bank_length, num_sources, scale,
    TERMS: gl.constexpr, FUSE_SELF: gl.constexpr, EVEN: gl.constexpr, BANK_EVEN: gl.constexpr,
    BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, HEAD_DIM: gl.constexpr, BUFFERS: gl.constexpr,
    CONSUMER_REGISTERS: gl.constexpr, PRODUCER_REGISTERS: gl.constexpr,
):  # fmt: skip
    """One (head, row, block of queries); `scale` is log2(e) times the logits' scale, above 0.

    The six views are descriptors of (entry, head, position, column), in blocks of one head of one entry.
    """
    HALF: gl.constexpr = BLOCK_M // 2
    # interpolated rows first, then plain ones; either by head, row, block: a head's shared sources stay in L2
    pid = gl.program_id(0)
    blocks = gl.cdiv(query_length, BLOCK_M)
    busy = gl.load(schedule + batch)
    interpolated = pid < busy * heads * blocks
    pid -= gl.where(interpolated, 0, busy * heads * blocks)
    rows = gl.where(interpolated, busy, batch - busy)
    head = pid // (rows * blocks)
    row = gl.load(schedule + pid // blocks % rows + gl.where(interpolated, 0, busy))
    first = pid % blocks * BLOCK_M

    own_blocks = gl.cdiv(key_length, BLOCK_N)
    if not FUSE_SELF:
        own_blocks = gl.where(interpolated, 0, own_blocks)
    entries, term_blocks, shares = load_terms(
        sources, weights, row, interpolated, gl.cdiv(bank_length, BLOCK_N), num_sources, TERMS
    )

    q_tiles = gl.allocate_shared_memory(query.dtype, [2, 1, 1, HALF, HEAD_DIM], query.layout)
    k_tiles = gl.allocate_shared_memory(key.dtype, [BUFFERS, 1, 1, BLOCK_N, HEAD_DIM], key.layout)
    v_tiles = gl.allocate_shared_memory(value.dtype, [BUFFERS, 1, 1, BLOCK_N, HEAD_DIM], value.layout)
    q_full = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    k_full = gl.allocate_shared_memory(gl.int64, [BUFFERS, 1], mbarrier.MBarrierLayout())
    k_empty = gl.allocate_shared_memory(gl.int64, [BUFFERS, 1], mbarrier.MBarrierLayout())
    v_full = gl.allocate_shared_memory(gl.int64, [BUFFERS, 1], mbarrier.MBarrierLayout())
    v_empty = gl.allocate_shared_memory(gl.int64, [BUFFERS, 1], mbarrier.MBarrierLayout())
    for half in gl.static_range(2):
        mbarrier.init(q_full.index(half), count=1)
    for buffer in gl.static_range(BUFFERS):
        mbarrier.init(k_full.index(buffer), count=1)
        mbarrier.init(v_full.index(buffer), count=1)
        mbarrier.init(k_empty.index(buffer), count=2)
        mbarrier.init(v_empty.index(buffer), count=2)
    fence_async_shared()

    gl.warp_specialize(
        [
            (consume, (
                0, output, row, head, first, key_length, own_blocks, bank_length, term_blocks, shares, scale,
                q_tiles, k_tiles, v_tiles, q_full, k_full, k_empty, v_full, v_empty,
                HALF, BLOCK_N, HEAD_DIM, BUFFERS, TERMS, EVEN, BANK_EVEN,
            )),
            (consume, (
                1, output, row, head, first, key_length, own_blocks, bank_length, term_blocks, shares, scale,
                q_tiles, k_tiles, v_tiles, q_full, k_full, k_empty, v_full, v_empty,
                HALF, BLOCK_N, HEAD_DIM, BUFFERS, TERMS, EVEN, BANK_EVEN,
            )),
            (produce, (
                query, key, value, bank_key, bank_value, row, head, first, own_blocks, entries, term_blocks,
                q_tiles, k_tiles, v_tiles, q_full, k_full, k_empty, v_full, v_empty,
                HALF, BLOCK_N, BUFFERS, TERMS,
            )),
        ],
        [4, 1],
        [CONSUMER_REGISTERS, PRODUCER_REGISTERS],
    )  # fmt: skip

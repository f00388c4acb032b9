"""How long each kernel should take, from its shape and the chip: predictions, to hold measurements against.

A kernel takes as long as the slowest of three resources, plus its launch:

    compute   of this package's kernels: iterations of the loops they compile to, tails one by one, each as long as its
              pipes one after the other, or as the slowest of them where several programs are resident
              (`loop_cycles`); of others: matrix products, then exponentials. Shared evenly by the multiprocessors, of
              which a grid that is no multiple leaves some idle
    L2        every block of queries reads all keys and values it attends to
    HBM       every tensor once

Padding of head sizes and lengths and the repeated Q K^T of sliced heads count as work here and nowhere else: useful
FLOP (`Call.useful_flop`) leave them out. Not modelled: masks, clocks below boost, the time a cold cache or a pipeline
takes to fill, how well a compiler did. `far` says when a measurement is further from the prediction than that explains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from aid_kernels.interpolated_attention.tuning.tile_sizes import LERP_BLOCK, Tiles, configure, kernel_mode
from benchmarks.compile_report.chips import Chip
from benchmarks.compile_report.loop_cycles import LONG, recorded_cycles

ITEM = 2  # bytes of a bf16 or fp16 number; float32 runs outside the tensor cores and is not predicted
SOURCES = 2  # J, of a sequence between two endpoints
LAUNCH = 4e-6  # seconds from one small kernel to the next in a stream: an assumption, about what empty kernels take
FLASH_SIZES = (32, 64, 96, 128, 192, 256)
FAR = 1.5


@dataclass(frozen=True)
class Call:
    """One call of the operator for `users` sequences of `frames` frames each, bf16 or fp16."""

    mode: str  # "outer" or "inner"
    frames: int
    heads: int
    query_length: int
    key_length: int
    head_dim: int
    fuse_self: bool = True
    users: int = 1

    @property
    def plain(self) -> int:
        """Rows of ordinary attention: the endpoints."""
        return 2 * self.users

    @property
    def interpolated(self) -> int:
        return (self.frames - 2) * self.users

    @property
    def rows(self) -> int:
        return self.plain + self.interpolated

    @property
    def units(self) -> int:
        """Attentions of one row's queries to one segment of keys, README equation (9)."""
        terms = SOURCES if self.mode == "outer" else 1
        return self.plain + self.interpolated * (terms + self.fuse_self)

    @property
    def useful_flop(self) -> int:
        return 4 * self.units * self.heads * self.query_length * self.key_length * self.head_dim

    def query_bytes(self, rows: int) -> int:
        """Of the queries, or the output, of so many rows."""
        return rows * self.heads * self.query_length * self.head_dim * ITEM

    def key_bytes(self, rows: int) -> int:
        """Of the keys, or the values, of so many rows."""
        return rows * self.heads * self.key_length * self.head_dim * ITEM


@dataclass(frozen=True)
class Kernel:
    """What one launch asks of a chip; `programs` spread over the multiprocessors (None: evenly)."""

    name: str
    mma: float = 0  # FLOP
    exp2: float = 0
    l2: float = 0  # bytes
    hbm: float = 0
    programs: int | None = None
    cycles: float | None = None  # of all programs, where their machine code is known

    def seconds(self, chip: Chip) -> dict[str, float]:
        """Of each resource; their maximum, and the launch on top, is the kernel's time."""
        busy: float = chip.multiprocessors
        if self.programs:
            busy = self.programs / ceil(self.programs / chip.multiprocessors)
        cycles = self.mma / chip.mma + self.exp2 / chip.exp2 if self.cycles is None else self.cycles
        return {"compute": cycles / busy / chip.clock, "L2": self.l2 / chip.l2, "HBM": self.hbm / chip.hbm}


@dataclass(frozen=True)
class Prediction:
    """What the model expects of a peer; never to be shown as a measurement.

    Attributes:
        milliseconds: of all its kernels.
        bound: what the longest kernel waits for: "compute", "L2", "HBM", or "launch".
        tflops: useful TFLOP/s at that time.
    """

    milliseconds: float
    bound: str
    tflops: float


def predict(peer: str, call: Call, chip: Chip) -> Prediction:
    """What one of `PEERS` should take.

    Raises:
        KeyError: a peer the model does not know.
    """
    total, longest, bound = 0.0, 0.0, "launch"
    for kernel in PEERS[peer](call, chip):
        resources = kernel.seconds(chip)
        slowest = max(resources, key=lambda name: resources[name])
        total += resources[slowest] + LAUNCH
        if resources[slowest] > max(longest, LAUNCH):
            longest, bound = resources[slowest], slowest
    return Prediction(1e3 * total, bound, call.useful_flop / total / 1e12)


def far(measured_ms: float, predicted_ms: float) -> str:
    """A remark if the two differ by more than FAR, else nothing."""
    ratio = measured_ms / predicted_ms
    if ratio > FAR:
        return f"{ratio:.1f}x slower than predicted"
    return f"{1 / ratio:.1f}x faster than predicted" if ratio < 1 / FAR else ""


def triton(call: Call, chip: Chip) -> list[Kernel]:
    """This package's kernels with their shipped tiles: one launch, or for inner and long keys a mix before it."""
    tiles = _configured(call, chip, call.query_length)
    blocks = ceil(call.query_length / tiles.block_m)
    step = tiles.block_n if tiles.short else tiles.tail
    keys = ceil(call.key_length / step) * step
    pairs = call.units * call.heads * blocks * tiles.block_m * keys * tiles.slices
    packs = kernel_mode(call.mode, call.query_length, call.key_length) == "inner_premixed"
    programs = call.units * call.heads * blocks * tiles.slices
    cycles = recorded_cycles(chip, call.mode, call.head_dim, call.key_length)
    if cycles is not None:
        # recorded with many queries; a program of fewer rows has fewer warps
        cycles *= programs * tiles.block_m / _configured(call, chip, LONG).block_m
    reads_own = call.rows if call.fuse_self else call.plain
    attention = Kernel(
        "attention",
        mma=2 * pairs * (tiles.key_main + tiles.key_rest + tiles.value_main + tiles.value_rest),
        exp2=pairs,
        l2=pairs / tiles.block_m * (call.head_dim + tiles.value_dim) * ITEM,
        hbm=2 * call.query_bytes(call.rows) + 2 * call.key_bytes(reads_own + call.interpolated * packs),
        programs=call.rows * call.heads * blocks * tiles.slices,
        cycles=cycles,
    )
    if not packs:
        return [attention]
    mix = Kernel(
        "mix",
        hbm=2 * call.key_bytes(call.plain + call.interpolated),
        l2=2 * call.key_bytes((SOURCES + 1) * call.interpolated),
        programs=call.interpolated * call.heads * ceil(call.key_length / LERP_BLOCK),
    )
    return [mix, attention]


def _configured(call: Call, chip: Chip, queries: int) -> Tiles:
    keys, inner = call.key_length, call.mode == "inner"
    return configure(
        chip.target, ITEM, call.head_dim, many=False, masked=False, inner=inner, queries=queries, keys=keys
    ).tiles


def sdpa(call: Call, chip: Chip) -> list[Kernel]:
    """The stock recipe: FlashAttention for the own keys and for each source, and a merge as if it were one kernel."""
    if call.mode == "inner":
        joined = 1 + call.fuse_self
        join = Kernel("join", hbm=2 * call.key_bytes(call.plain + call.interpolated * (joined + call.fuse_self)))
        return [_flash(call, call.plain, 1), join, _flash(call, call.interpolated, joined)]
    own = call.rows if call.fuse_self else call.plain
    parts = SOURCES + call.fuse_self
    merge = Kernel("merge", hbm=call.query_bytes(call.interpolated) * (parts + 1))
    return [_flash(call, own, 1), *[_flash(call, call.interpolated, 1)] * SOURCES, merge]


def sdpa_concat(call: Call, chip: Chip) -> list[Kernel]:
    """Stock attention of all rows to concatenated keys: twice and their mean (outer), or once to mixed ones (inner)."""
    return [*_concatenations(call), *[_flash(call, call.rows, 1 + call.fuse_self)] * _passes(call), *_mean(call)]


def materialized(call: Call, chip: Chip) -> list[Kernel]:
    """The same with the probabilities in memory: two matrix products and a softmax between them."""
    logits = call.rows * call.heads * call.query_length * call.key_length * (1 + call.fuse_self)
    own, keys = call.query_bytes(call.rows), call.key_bytes(call.rows) * (1 + call.fuse_self)
    once = [
        Kernel("Q K^T", mma=2 * logits * call.head_dim, hbm=own + keys + ITEM * logits),
        Kernel("softmax", exp2=logits, hbm=2 * ITEM * logits),
        Kernel("P V", mma=2 * logits * call.head_dim, hbm=own + keys + ITEM * logits),
    ]
    return [*_concatenations(call), *once * _passes(call), *_mean(call)]


PEERS: dict[str, Callable[[Call, Chip], list[Kernel]]] = {
    "materialized": materialized,
    "sdpa_concat": sdpa_concat,
    "sdpa": sdpa,
    "ours": triton,
}


def _flash(call: Call, rows: int, segments: int) -> Kernel:
    """FlashAttention-2's tiles: 128 queries, and the head sizes it is compiled for."""
    blocks, width = ceil(call.query_length / 128), next(size for size in FLASH_SIZES if call.head_dim <= size)
    pairs = rows * call.heads * blocks * 128 * call.key_length * segments
    return Kernel(
        "flash",
        mma=4 * pairs * width,
        exp2=pairs,
        l2=pairs / 128 * 2 * call.head_dim * ITEM,
        hbm=2 * call.query_bytes(rows) + 2 * call.key_bytes(rows) * segments,
        programs=rows * call.heads * blocks,
    )


def _passes(call: Call) -> int:
    return SOURCES if call.mode == "outer" else 1


def _concatenations(call: Call) -> list[Kernel]:
    """Keys, then values: a source's or the mixed ones in front of the row's own, read and written."""
    moved = call.key_bytes(call.rows)
    mixed = [Kernel("mix", hbm=2 * moved)] * (2 if call.mode == "inner" else 0)
    return [*mixed, *[Kernel("concatenate", hbm=4 * moved)] * (2 * _passes(call) if call.fuse_self else 0)]


def _mean(call: Call) -> list[Kernel]:
    return [Kernel("mean", hbm=3 * call.query_bytes(call.rows))] if call.mode == "outer" else []

"""Cycles that a loop asks of each pipe of a multiprocessor, and what follows if they overlap fully or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.compile_report.chips import Chip
from benchmarks.compile_report.machine_code import Instruction

SCHEDULERS = 4  # of a multiprocessor, each with its own pipes
SHARED_BYTES = 128  # that shared memory moves in a cycle
# the fewest cycles between two HGMMA: a narrower one is not faster
LEAST_HGMMA = 16
# cycles a scheduler's pipe takes for a warp: 32 lanes over its quarter of the results per cycle of CUDA's table of
# native arithmetic throughput (128 FP32, 64 maxima, conversions and integers, 16 exponentials; A100 64 FP32)
ALU = 2


@dataclass(frozen=True)
class Pipes:
    """Cycles of a multiprocessor for one iteration of all warps of one program.

    Attributes:
        tensor, exp2, fma, alu, shared: of each pipe.
        issue: of the schedulers.
        l2: of the multiprocessor's share of the second-level cache; of no bound below.
        maxima: the share of `alu` that must come before the exponentials.
    """

    tensor: float
    exp2: float
    fma: float
    alu: float
    issue: float
    shared: float
    l2: float
    maxima: float

    @property
    def ideal(self) -> float:
        """The slowest pipe, all others hidden behind it."""
        return max(self.tensor, self.exp2, self.fma, self.alu, self.issue, self.shared)

    @property
    def serial(self) -> float:
        """Matrix products, then maxima, then exponentials beside the rest, as one program in lockstep takes them."""
        return (
            self.tensor + self.maxima + max(self.exp2, self.fma, self.alu - self.maxima, self.issue - self.maxima / ALU)
        )


def fma_cycles(chip: Chip) -> int:
    return 2 if chip.target == "sm_80" else 1


def exp2_cycles(chip: Chip) -> int:
    return 32 * SCHEDULERS // chip.exp2


def tensor_cycles(item: Instruction, chip: Chip) -> float:
    """Of one scheduler's tensor core, for one warp's share of a matrix instruction."""
    m, n, k = item.shape
    if item.base == "HMMA":
        return 2 * m * n * k * SCHEDULERS / chip.mma
    if not m:
        return 0.0
    return max(2 * m * n * k / chip.mma, SCHEDULERS * item.shared_bytes / SHARED_BYTES, LEAST_HGMMA)


def count(body: Sequence[Instruction], chip: Chip, warps: int, flop: float, loaded: float) -> Pipes:
    """The pipes of a loop.

    Args:
        warps: of a program.
        flop: of an iteration's matrix products, where the instructions do not say it (Blackwell's).
        loaded: bytes of keys and values an iteration reads.
    """
    kinds = Counter(item.pipe for item in body)
    share = warps / SCHEDULERS
    tensor = share * sum(tensor_cycles(item, chip) for item in body if item.pipe == "tensor") or flop / chip.mma
    return Pipes(
        tensor=tensor,
        exp2=share * kinds["exp2"] * exp2_cycles(chip),
        fma=share * (kinds["fma"] * fma_cycles(chip) + 2 * kinds["integer_multiply"]),
        alu=share * ALU * (kinds["maximum"] + kinds["convert"] + kinds["integer"]),
        issue=share * len(body),
        shared=warps * sum(item.shared_bytes for item in body) / SHARED_BYTES,
        l2=loaded * chip.multiprocessors * chip.clock / chip.l2,
        maxima=share * ALU * kinds["maximum"],
    )

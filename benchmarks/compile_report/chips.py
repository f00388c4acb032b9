"""Table of GPUs: limits of each architecture that kernels are compiled for, published rates of each chip."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """Limits of one multiprocessor, and its matrix instruction.

    Attributes:
        threads, programs: resident at most.
        registers: 32-bit, of the whole multiprocessor.
        shared: bytes of the whole multiprocessor.
        shared_limit: bytes a program may have.
        instruction: as it stands in PTX or AMD assembly.
        warp: threads of one.
        tensor_memory: columns.
    """

    threads: int
    programs: int
    registers: int
    shared: int
    shared_limit: int
    instruction: str
    warp: int = 32
    tensor_memory: int = 0


# CUDA's occupancy tables, AMD's CDNA3 guide; by the compiler's name of the target
ARCHITECTURES = {
    "sm_80": Architecture(2048, 32, 65536, 167936, 166912, "mma.sync"),
    "sm_86": Architecture(1536, 16, 65536, 102400, 101376, "mma.sync"),
    "sm_89": Architecture(1536, 24, 65536, 102400, 101376, "mma.sync"),
    "sm_90": Architecture(2048, 32, 65536, 233472, 232448, "wgmma.mma_async"),
    "sm_100": Architecture(2048, 32, 65536, 233472, 232448, "tcgen05.mma", tensor_memory=512),
    "sm_120": Architecture(1536, 24, 65536, 102400, 101376, "mma.sync"),
    "gfx942": Architecture(2048, 32, 4 * 64 * 512, 65536, 65536, "v_mfma", warp=64),
}


@dataclass(frozen=True)
class Chip:
    """Rates of one GPU.

    Attributes:
        name: as the cost model's tables print it; also what its driver's name for the device contains.
        target: the architecture whose tiles it runs, a key of `ARCHITECTURES`.
        multiprocessors, clock: how many, and their boost clock in Hz, at which the published peak is quoted.
        mma: FLOP a multiprocessor's tensor cores do in a cycle, dense bf16 or fp16 summed in float32.
        exp2: exponentials a multiprocessor does in a cycle.
        l2, hbm: bytes per second to the second-level cache, and to memory.
    """

    name: str
    target: str
    multiprocessors: int
    clock: float
    mma: int
    exp2: int
    l2: float
    hbm: float

    @property
    def peak(self) -> float:
        """FLOP per second of all tensor cores."""
        return self.multiprocessors * self.clock * self.mma

    @property
    def exp2_width(self) -> float:
        """The head size whose two matrix products take as long as the exponentials do: 64 on Hopper.

        A (query, key) pair of padded size W costs 4 W / mma + 1 / exp2 cycles = 4 (W + exp2_width) / mma.
        """
        return self.mma / (4 * self.exp2)

    def attainable(self, head_dim: int, width: int) -> float:
        """Useful FLOP per second where matrix products and exponentials do not overlap and nothing else counts.

        Args:
            head_dim: D, what is useful.
            width: D with its padding.
        """
        return self.peak * head_dim / (width + self.exp2_width)


# Multiprocessors, clock, mma, hbm: NVIDIA's architecture whitepapers (A100, Ada, H100) and data sheets (H200, HGX
# B200); their product with the clock gives the published dense peaks of 312, 165, 989, 989 and 2,250 TFLOP/s.
# exp2: CUDA C++ Programming Guide, "Throughput of native arithmetic instructions": 16 from compute capability 8.0 on;
# for B200 also the FlashAttention-4 post, together.ai/blog/flashattention-4: as many special function units as H100.
# l2: A100's whitepaper says 5,120 bytes a cycle. No figure is published for the others: about 5 TB/s for RTX 4090 and
# 5.5 TB/s for H100 (the slower PCIe card) were measured by chipsandcheese.com; H200 has the same cache; B200, with two
# dies, is assumed to have twice that.
CHIPS = (
    Chip("A100", "sm_80", 108, 1.41e9, 2048, 16, l2=7.2e12, hbm=2.04e12),  # 80 GB, SXM
    Chip("RTX 4090", "sm_89", 128, 2.52e9, 512, 16, l2=5.0e12, hbm=1.01e12),
    Chip("H100", "sm_90", 132, 1.83e9, 4096, 16, l2=5.5e12, hbm=3.35e12),  # SXM
    Chip("H200", "sm_90", 132, 1.83e9, 4096, 16, l2=5.5e12, hbm=4.8e12),
    Chip("B200", "sm_100", 148, 1.85e9, 8192, 16, l2=11e12, hbm=8.0e12),
)


def chip_of(device_name: str) -> Chip | None:
    """The chip that a driver's name speaks of ("NVIDIA H200", "NVIDIA A100-SXM4-80GB"); None: none of the table."""
    return next((chip for chip in CHIPS if chip.name in device_name), None)

"""Machine code of NVIDIA's chips: instructions with the scheduling bits ptxas wrote, and the loops of a kernel."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.compile_report.compiled_kernel import CUOBJDUMP

# by the name before the first dot; what is in none of them is plain integer work
_PIPES = {
    "fma": "FFMA FMUL FADD FFMA2 FMUL2 FADD2 HFMA2 HMUL2 HADD2",
    "maximum": "FMNMX FMNMX3",
    "convert": "F2FP",
    "exp2": "MUFU F2F I2F F2I I2FP F2IP POPC FLO",
    "memory": "LDG STG LDS STS LDSM STSM LDGSTS LDL STL SHFL LDTM STTM UTMALDG UTMASTG UBLKCP ATOMS REDUX LDC LDCU",
    "sync": "BAR WARPGROUP DEPBAR MEMBAR FENCE SYNCS LDGDEPBAR WARPSYNC ELECT ERRBAR CCTL BSYNC BSSY UTCBAR ARRIVES "
    "CS2R R2UR S2R S2UR VOTE VOTEU",
    "flow": "BRA NOP EXIT RET CALL YIELD BREAK JMP BRX",
}
_PIPE_OF = {name: pipe for pipe, names in _PIPES.items() for name in names.split()}
_FIRST_WORD = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(.+?)\s*;\s*/\* 0x[0-9a-f]{16} \*/")
_SECOND_WORD = re.compile(r"^\s*/\* 0x([0-9a-f]{16}) \*/")
NO_SCOREBOARD = 7


@dataclass(frozen=True)
class Instruction:
    """One instruction of a warp.

    Attributes:
        text: the whole of it, without its predicate.
        predicate: "" or "@P0"; "@!PT" means never.
        stall: cycles until the warp may issue its next instruction.
        sets_written, sets_read: scoreboard that is clear once the result is there, or once operands were read.
        waits_for: a bit for each scoreboard that must be clear before.
    """

    address: int
    text: str
    predicate: str = ""
    stall: int = 1
    sets_written: int = NO_SCOREBOARD
    sets_read: int = NO_SCOREBOARD
    waits_for: int = 0

    @property
    def name(self) -> str:
        """With its modifiers."""
        return self.text.split()[0]

    @property
    def base(self) -> str:
        return self.name.split(".")[0]

    @property
    def pipe(self) -> str:
        """Of the multiprocessor: "tensor", "integer_multiply", "uniform", "integer", or a key of `_PIPES`."""
        base = self.base
        if base in _PIPE_OF:
            return _PIPE_OF[base]
        if base.endswith("MMA"):
            return "tensor"
        if base.startswith("IMAD"):
            return "integer_multiply"
        return "uniform" if base.startswith("U") else "integer"

    @property
    def branch_target(self) -> int | None:
        found = re.search(r"0x([0-9a-f]+)", self.text) if self.base == "BRA" else None
        return int(found[1], 16) if found else None

    @property
    def shape(self) -> tuple[int, int, int]:
        """m, n, k of a matrix instruction; (0, 0, 0) where its text has none, as Blackwell's."""
        if self.base == "HMMA":
            return 16, 8, 16 if "16816" in self.name else 8
        found = re.search(r"\.(\d+)x(\d+)x(\d+)\.", self.name + ".")
        return (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)

    @property
    def shared_bytes(self) -> int:
        """Bytes of shared memory that one warp's share of it moves."""
        if self.predicate == "@!PT":
            return 0
        if self.base in ("LDSM", "STSM"):
            return 128 * next((count for count in (4, 2) if f".{count}" in self.name), 1)
        if self.base in ("LDS", "STS", "LDGSTS"):
            return 32 * next((bits for bits in (128, 64) if f".{bits}" in self.name), 32) // 8
        if self.base == "HGMMA":
            m, n, k = self.shape
            # the left operand comes from registers or, by its descriptor, from shared memory
            left = 0 if re.match(r"HGMMA\S* R\d+, R\d+", self.text) else m * k
            return 2 * (n * k + left) // 4
        return 0


def disassemble(cubin: bytes) -> list[Instruction]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(CUOBJDUMP), "-sass", file.name]
        return parse(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def parse(listing: str) -> list[Instruction]:
    """Instructions of a listing by `cuobjdump -sass`: two lines each, the scheduling bits are in the second."""
    found: list[Instruction] = []
    for line in listing.splitlines():
        if first := _FIRST_WORD.search(line):
            predicate, text = "", first[2]
            if text.startswith("@"):
                predicate, text = text.split(None, 1)
            found.append(Instruction(int(first[1], 16), text, predicate))
        elif found and (second := _SECOND_WORD.match(line)):
            bits = int(second[1], 16) >> 41
            found[-1] = replace(
                found[-1],
                stall=bits & 15,
                sets_written=bits >> 5 & 7,
                sets_read=bits >> 8 & 7,
                waits_for=bits >> 11 & 63,
            )
    return found


def inner_loops(code: Sequence[Instruction]) -> list[list[Instruction]]:
    """Bodies of the innermost loops with matrix instructions, in the order of the code, none twice."""
    ends = [item for item in code if item.branch_target is not None and item.branch_target < item.address]
    bodies: list[list[Instruction]] = []
    for end in sorted(ends, key=lambda item: (item.address - (item.branch_target or 0), item.address)):
        start = end.branch_target or 0
        body = [item for item in code if start <= item.address <= end.address]
        spans = [(other[0].address, other[-1].address) for other in bodies]
        overlaps = any(start <= edge <= end.address for span in spans for edge in span)
        if not overlaps and any(item.pipe == "tensor" for item in body):
            bodies.append(body)
    return sorted(bodies, key=lambda body: body[0].address)

"""Loops read from machine code: what is counted, what bounds it, and what a change must not add."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.compile_report.chips import CHIPS

pytest.importorskip("triton")

from benchmarks.compile_report.in_order import BARRIER, HGMMA_TAIL, estimate
from benchmarks.compile_report.loops import Loop, LoopLine, problems, recorded_loops, write_loops
from benchmarks.compile_report.machine_code import Instruction, inner_loops, parse
from benchmarks.compile_report.pipes import count, tensor_cycles

H100 = next(chip for chip in CHIPS if chip.name == "H100")
A100 = next(chip for chip in CHIPS if chip.name == "A100")
LISTING = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;                  /* 0x00000a0000017a02 */
                                                                          /* 0x000fe40000000f00 */
        /*0010*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;   /* 0x0000000c0804723c */
                                                                          /* 0x042fe20000041804 */
        /*0020*/              @P0 MUFU.EX2 R5, R4 ;                        /* 0x0000000400057308 */
                                                                          /* 0x000e640000000800 */
        /*0030*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;           /* 0x0000000000007b1d */
                                                                          /* 0x000fec0000010000 */
        /*0040*/              @P1 BRA 0x10 ;                               /* 0xfffffff000007947 */
                                                                          /* 0x000fea000383ffff */
        /*0050*/                   EXIT ;                                  /* 0x000000000000794d */
                                                                          /* 0x000fea0003800000 */
"""
LOOP = Loop(128, 1, 472, 1024, 1056, 360, 492, 944, 896, 1439, 1056, 2352, 3030, 1, 0, 1, 3, 16, 0, 0)


def test_reads_a_listing() -> None:
    code = parse(LISTING)
    assert [item.base for item in code] == ["MOV", "HMMA", "MUFU", "BAR", "BRA", "EXIT"]
    assert (code[1].stall, code[1].waits_for) == (1, 0b000010)
    assert (code[2].predicate, code[2].sets_written) == ("@P0", 1)
    (body,) = inner_loops(code)
    assert [item.base for item in body] == ["HMMA", "MUFU", "BAR", "BRA"]


def test_pipes_by_hand() -> None:
    """A100: m16n8k16 is 4,096 FLOP, a scheduler's quarter does 512 a cycle; an exponential of a warp takes 8."""
    (body,) = inner_loops(parse(LISTING))
    assert tensor_cycles(body[0], A100) == 8
    pipes = count(body, A100, warps=8, flop=0, loaded=0)
    assert (pipes.tensor, pipes.exp2, pipes.issue) == (16, 16, 8)
    assert (pipes.ideal, pipes.serial) == (16, 32)


def test_an_hgmma_is_as_slow_as_its_operands_in_shared_memory() -> None:
    wide = Instruction(0, "HGMMA.64x128x16.F32.BF16 R24, gdesc[UR8], R24, gsb0")
    fed = Instruction(0, "HGMMA.64x128x16.F32.BF16 R24, R4, gdesc[UR8], R24, gsb0")
    narrow = Instruction(0, "HGMMA.64x16x16.F32.BF16 R24, R4, gdesc[UR8], R24, gsb0")
    assert fed.shared_bytes * 4 == 128 * 16 * 2
    assert wide.shared_bytes * 4 == (128 + 64) * 16 * 2
    assert [tensor_cycles(item, H100) for item in (wide, fed, narrow)] == [64, 64, 16]


def test_in_order_estimate_by_hand() -> None:
    """A product that is waited for takes its cycles and its tail; a barrier costs its own on top."""
    product = Instruction(0, "HGMMA.64x128x16.F32.BF16 R24, R4, gdesc[UR8], R24, gsb0")
    wait = Instruction(16, "WARPGROUP.DEPBAR.LE gsb0, 0x0")
    end = Instruction(32, "BRA 0x0", stall=1)
    alone = estimate([product, wait, end], H100, warps=4, programs=1)
    assert alone == pytest.approx(64 + HGMMA_TAIL + 2, abs=2)
    met = estimate([product, wait, Instruction(24, "BAR.SYNC.DEFER_BLOCKING 0x0"), end], H100, warps=4, programs=1)
    assert met == pytest.approx(alone + BARRIER, abs=4)
    # two programs fill each other's waits
    assert estimate([product, wait, end], H100, warps=4, programs=2) < 0.8 * alone


def test_a_main_loop_must_not_gain_waits_or_spills_nor_be_serialised() -> None:
    tail = replace(LOOP, keys=16, waits=9, lone_waits=9)
    assert problems([LOOP, tail], [LOOP, tail]) == []
    assert problems([LOOP], []) == []
    assert "2 waits, 1 are recorded" in problems([replace(LOOP, waits=2)], [LOOP])[0]
    assert "4 local accesses" in problems([LOOP, replace(LOOP, local_accesses=4)], [LOOP])[0]
    assert problems([replace(LOOP, waits=1)], [replace(LOOP, waits=2)]) == []
    assert "serialised" in problems([replace(LOOP, waits=8, lone_waits=8)], [])[0]


def test_recorded_loops_are_read_as_written(tmp_path: Path) -> None:
    lines = [LoopLine("sm_90", "outer, J=2", "bfloat16", 64, number, LOOP) for number in (1, 2)]
    write_loops(lines, tmp_path / "loops.csv")
    assert recorded_loops(tmp_path / "loops.csv") == {("sm_90", "outer, J=2", "bfloat16", 64): [LOOP, LOOP]}
    assert recorded_loops(tmp_path / "none.csv") == {}

"""The Hopper kernel compiles for its chip without one: nothing spills, and no matrix product is waited for alone."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace

import pytest
import torch

triton = pytest.importorskip("triton")

from benchmarks.compile_report import hopper  # noqa: E402
from benchmarks.compile_report.hopper import Case, MainLoop, page, read  # noqa: E402

LOOP = MainLoop(420, 12, 2, 0, 2, 2, 2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in hopper.CASES if case.dtype == torch.float16], ids=str)
def test_machine_code(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    # in a process of its own: Triton's interpreter, which other tests use, changes the language for good
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        line = pool.apply(read, (case,))
    assert line.problem == ""
    for loop in line.loops:
        assert (loop.waits, loop.barriers, loop.phases, loop.arrivals) == (2, 2, 2, 2)
    committed = hopper.RESULTS.read_text("utf-8")
    if f"Triton {triton.__version__}," in committed:
        row = next(row for row in page([line]).splitlines() if str(case) in row)
        assert row in committed, "python -m benchmarks.compile_report.hopper writes the page anew"


@pytest.mark.parametrize(
    ("loop", "spilled", "told"),
    [
        (replace(LOOP, waits=12, lone_waits=11), 0, "serialised"),
        (replace(LOOP, local_accesses=4), 0, "spilled"),
        (LOOP, 32, "32 bytes spilled"),
        (LOOP, 0, ""),
    ],
)
def test_problems_are_named(loop: MainLoop, spilled: int, told: str) -> None:
    case = Case(64, torch.float16, 2, True, 1001)
    line = hopper.Line(case, 168, spilled, 82280, (loop,) * 6)
    assert told in line.problem
    assert bool(told) == bool(line.problem)
    assert "main loops" in replace(line, loops=(loop,) * 5).problem

"""The compile report: it compiles what launches compile, covers every configuration, and fails when it should."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from aid_kernels.interpolated_attention.tuning import tile_sizes as triton_configs
from benchmarks.compile_report import __main__ as command
from benchmarks.compile_report.__main__ import RESULTS, write
from benchmarks.compile_report.loop_cycles import LOOPS
from benchmarks.compile_report.specialisations import ReportLine, cases, describe, make_launch

pytest.importorskip("triton")


def run(script: str, *arguments: str) -> None:
    """In a process where Triton compiles; this one may interpret."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    subprocess.run([sys.executable, "-c", script, *arguments], env=environment, check=True, timeout=280)


SPECIALISATION = """
from triton.runtime import driver
from benchmarks.compile_report.specialisations import Specialisation, make_launch
from benchmarks.compile_report.compiled_kernel import compile_launch, gpu_target

class Driver:
    get_current_target = staticmethod(lambda: gpu_target("sm_80"))
    get_current_device = staticmethod(lambda: 0)
    get_current_stream = staticmethod(lambda device: 0)

launch = make_launch(Specialisation("sm_80", "lerp", "bfloat16", 40, 2, True))
driver.set_active(Driver())
own = launch.kernel.warmup(grid=launch.grid, **launch.arguments, **launch.constants, **launch.options)
ours = compile_launch(launch, "sm_80")
assert own.src.signature == ours.src.signature, (own.src.signature, ours.src.signature)
assert own.src.constants == ours.src.constants
assert {key: value for key, value in own.src.attrs.items() if value} == ours.src.attrs
assert own.asm["ptx"].count("ld.global") == ours.asm["ptx"].count("ld.global") > 0
"""


@pytest.mark.slow
def test_specialises_as_a_launch_does() -> None:
    run(SPECIALISATION)


PROBLEMS = """
from dataclasses import replace
from benchmarks.compile_report import compiled_kernel
from benchmarks.compile_report.specialisations import Specialisation, compile_case

case = Specialisation("sm_80", "outer", "bfloat16", 8, 1, False)
good, loops = compile_case(case)
assert not good.problem, good
counts = [line.counts for line in loops]
assert len(counts) == 4 and all(loop.barriers and loop.in_order > 0.9 * loop.ideal > 0 for loop in counts), counts
assert good.registers > 32 and good.shared_bytes > 0 and good.matrix_instructions > 0 and 0 < good.occupancy <= 1
chip = compiled_kernel.ARCHITECTURES["sm_80"]
compiled_kernel.ARCHITECTURES["sm_80"] = replace(chip, shared_limit=16, instruction="wgmma.mma_async")
bad, _ = compile_case(case)
assert "bytes of shared memory" in bad.problem and "has no wgmma" in bad.problem, bad
"""


@pytest.mark.slow
def test_names_what_is_wrong() -> None:
    run(PROBLEMS)


GAINED = """
import sys
from dataclasses import replace
from pathlib import Path
from aid_kernels.interpolated_attention.tuning.tile_sizes import LaunchConfig
from benchmarks.compile_report import specialisations
from benchmarks.compile_report.loops import write_loops
from benchmarks.compile_report.specialisations import Specialisation, compile_case

case = Specialisation("sm_90", "outer", "bfloat16", 64, 1, False, keys=77)
recorded = Path(sys.argv[1])
good, loops = compile_case(case)
assert not good.problem, good
write_loops(loops, recorded)
assert not compile_case(case, recorded)[0].problem
less = [replace(line, counts=replace(line.counts, waits=line.counts.waits - 1)) for line in loops]
write_loops(less, recorded)
assert "a main loop has 1 waits, 0 are recorded" in compile_case(case, recorded)[0].problem

write_loops(loops, recorded)
usual = specialisations.make_launch
specialisations.make_launch = lambda case: usual(case, LaunchConfig(128, 64, 8, 3, pad=True, registers=64))
bad, _ = compile_case(replace(case, keys=0), recorded)
assert "HGMMA are serialised" in bad.problem and "spills" in bad.problem, bad
"""


@pytest.mark.slow
def test_names_what_a_main_loop_gained(tmp_path: Path) -> None:
    run(GAINED, str(tmp_path / "loops.csv"))


@pytest.mark.parametrize(("problem", "expected"), [("", 0), ("a main loop has 2 waits, 1 are recorded", 1)])
def test_the_quick_report_fails_on_a_problem(problem: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command itself, with a given judgement of each kernel."""

    class Pool:
        def __init__(self, jobs: int) -> None: ...
        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *error: object) -> None: ...
        def imap(self, compile_one, wanted):
            assert compile_one.keywords["recorded"] == LOOPS
            return [
                (ReportLine(case.target, "outer", "bfloat16", 64, "", 8, 2, problem=problem), []) for case in wanted
            ]

    monkeypatch.setattr(command.multiprocessing, "get_context", lambda kind: SimpleNamespace(Pool=Pool))
    monkeypatch.setattr(sys, "argv", ["compile_report", "--quick", "--arch", "sm_90"])
    assert command.main() == expected


@pytest.mark.parametrize("target", triton_configs.TARGETS)
def test_the_quick_report_has_masks_in_every_mode(target: str) -> None:
    modes = {(case.mode, case.masked) for case in cases((target,), quick=True)}
    assert modes >= {("outer", False), ("outer", True), ("inner_fused", False), ("inner_fused", True)}


def test_covers_every_line_of_every_table() -> None:
    tables = {2: triton_configs._HALF, 4: triton_configs._FLOAT}
    compiled = set()
    for case in cases(triton_configs.TARGETS, quick=False):
        itemsize = 4 if case.dtype == "float32" else 2
        entry = next(entry for entry in tables[itemsize][case.target] if case.head_dim <= entry.width)
        compiled.add((case.target, itemsize, entry))
    assert compiled == {
        (target, itemsize, entry)
        for itemsize in tables
        for target in tables[itemsize]
        for entry in tables[itemsize][target]
    }
    assert set(cases(("sm_90",), quick=True)) < set(cases(("sm_90",), quick=False))


def test_the_committed_table_is_of_the_shipped_configurations() -> None:
    """To be run again after a change of them: python -m benchmarks.compile_report."""
    with (RESULTS / "compile_report.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert not [line for line in lines if line["problem"]]
    shipped = [asdict(describe(case, make_launch(case))) for case in cases(triton_configs.TARGETS, quick=False)]
    told = ("target", "kernel", "dtype", "head_dim", "tiles", "warps", "stages")
    assert [[line[name] for name in told] for line in lines] == [[str(row[name]) for name in told] for row in shipped]


def test_resident_programs_are_bounded_by_the_scarcest() -> None:
    from benchmarks.compile_report.compiled_kernel import ARCHITECTURES, resident_programs

    assert resident_programs(ARCHITECTURES["sm_90"], 8, 255, 1024, 0) == 1  # registers
    assert resident_programs(ARCHITECTURES["sm_90"], 4, 32, 100_000, 0) == 2  # shared memory
    assert resident_programs(ARCHITECTURES["sm_100"], 4, 32, 1024, 256) == 2  # tensor memory
    assert resident_programs(ARCHITECTURES["sm_86"], 1, 32, 0, 0) == 16  # programs


def test_tables_hold_every_row(tmp_path: Path) -> None:
    tiles = "128x128, 64, 1x(64)"
    row = ReportLine("sm_90", "outer, J=2", "bfloat16", 64, tiles, 8, 2, 250, 0, 81920, 232448, 51, 0.125, "")
    write([row, ReportLine(*list(vars(row).values())[:-1], "spills 8 bytes")], [], tmp_path)
    with (tmp_path / "compile_report.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["problem"] for line in lines] == ["", "spills 8 bytes"]
    assert "1 with a problem" in (tmp_path / "compile_report.md").read_text(encoding="utf-8")

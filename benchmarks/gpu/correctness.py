"""Part `correctness` of the GPU run: the kernels' tests on the GPU, in a process of their own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.common.machine import ROOT
from benchmarks.common.settings import BenchmarkSettings, Row

TESTS = ("tests/kernels/test_gpu.py", "tests/kernels/test_gpu_stock_ops.py")
# in a smoke run those are skipped; this one shows that the run notices tests that did pass
SMOKE_TESTS = (*TESTS, "tests/kernels/tuning/test_tuned.py::test_nearest_length_counts_doublings")
MOST_WORKERS = 8  # what takes the time is compiling


@dataclass(frozen=True)
class Correctness:
    """Whether anything may be timed, the row that says so, and what pytest printed."""

    green: bool
    row: Row
    log: str


def estimated_minutes(settings: BenchmarkSettings) -> float:
    return 0.3 if settings.smoke else 2.0


def check(settings: BenchmarkSettings) -> Correctness:
    """Run the tests until the deadline; not green too where they did not end, none ran, or pytest is missing."""
    if importlib.util.find_spec("pytest") is None:
        problem = "pytest is not installed, so nothing can be checked and nothing is timed: pip install pytest"
        return Correctness(False, {"part": "correctness", "green": False, "problem": problem}, problem + "\n")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        log, ended = _pytest(_command(settings, report), max(1.0, settings.time_left()))
        counts = read_counts(report) if report.exists() else {}
    failed = counts.get("failed", 0)
    green = ended and failed == 0 and counts.get("passed", 0) > 0
    row: Row = {"part": "correctness", "green": green, "seconds": round(time.monotonic() - start, 1)} | counts
    if not green:
        why = f"{failed} failed" if failed else "no test passed" if ended else "the tests did not end in time"
        row["problem"] = f"{why}: nothing is timed; correctness.log has the details"
    return Correctness(green, row, log)


def read_counts(report: Path) -> dict[str, int]:
    """Passed, failed (errors too) and skipped tests of a JUnit report."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    total, failures, errors, skipped = (
        sum(int(suite.get(name, "0")) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    return {"passed": total - failures - errors - skipped, "failed": failures + errors, "skipped": skipped}


def _command(settings: BenchmarkSettings, report: Path) -> list[str]:
    """Without the repository's own options, which need plugins a GPU machine may lack."""
    call = [sys.executable, "-m", "pytest", "-o", "addopts=", "-q", "-rfE", "-p", "no:cacheprovider"]
    call += [f"--junitxml={report}", *(SMOKE_TESTS if settings.smoke else TESTS)]
    if not settings.smoke and importlib.util.find_spec("xdist"):
        call += ["-n", str(min(MOST_WORKERS, os.cpu_count() or 1))]
    return call


def _pytest(call: list[str], timeout: float) -> tuple[str, bool]:
    """What it printed, and whether it came to its end."""
    try:
        done = subprocess.run(
            call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        printed = error.stdout or b""
        return (printed.decode(errors="replace") if isinstance(printed, bytes) else printed), False
    return done.stdout, done.returncode in (0, 1)

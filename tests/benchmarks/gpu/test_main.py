"""The GPU run without a GPU: its plan, its end when time is short, its files, what it refuses."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from benchmarks.common.result_files import RESULTS
from benchmarks.common.settings import BenchmarkSettings, Row
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import correctness, files, parts
from benchmarks.gpu.correctness import Correctness
from benchmarks.gpu.files import RunFolder
from benchmarks.operator import gpu as operator_gpu

CPU = torch.device("cpu")
GREEN = Correctness(True, {"part": "correctness", "green": True, "passed": 1, "failed": 0, "skipped": 0}, "1 passed\n")


def smoke(seconds: float = 1e6) -> BenchmarkSettings:
    return BenchmarkSettings(device=CPU, smoke=True, deadline=time.monotonic() + seconds)


def folder_at(path: Path, **changes: object) -> RunFolder:
    about = {"smoke": True, "command": "test", "machine": {"gpu": "smoke", "commit": "abc"}} | changes
    return RunFolder(path, about, "smoke.json")


def check_files(path: Path) -> dict[str, object]:
    """All there, all readable, all marked; returns what results.json holds."""
    assert {file.name for file in path.iterdir()} - {"smoke.json"} == files.OURS
    data = json.loads((path / "results.json").read_text())
    assert data["smoke"] is True
    assert all(row["smoke"] is True for row in data["rows"])
    with (path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(data["rows"])
    assert all(row["smoke"] == "True" for row in rows)
    for name in files.CHARTS:
        assert "SMOKE RUN" in ElementTree.parse(path / name).getroot().find("{*}text").text
    assert "smoke run" in (path / "correctness.log").read_text()
    return data


def test_plan_lists_every_part_in_its_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--plan"]) == 0
    printed = capsys.readouterr().out
    places = [printed.index(f"\n{name} ") for name in parts.NAMES]
    assert places == sorted(places)
    assert "of 9 minutes" in printed
    for part in parts.TIMED:
        module = part.load()
        assert not isinstance(module, str)
        assert 0 < module.estimated_minutes(BenchmarkSettings(device=CPU)) < 9


def test_plan_of_some_parts(capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main(["--plan", "--only", "operator", "--minutes", "2"])
    printed = capsys.readouterr().out
    assert "\noperator " in printed
    assert "\ntune " not in printed
    assert "of 2 minutes; every part gets less" in printed


def test_time_is_shared_out_by_estimates_and_leftovers_go_on() -> None:
    assert parts.deadline_of_first([1, 3], now=100, end=180) == 120
    assert parts.deadline_of_first([3], now=105, end=180) == 180
    assert parts.deadline_of_first([0.0], now=5, end=6) == 6


def test_a_part_without_its_packages_says_so_and_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    part = parts.PartOfRun("denoiser", "benchmarks.no_such_part", "", ("diffusers",))
    with pytest.raises(ModuleNotFoundError, match="no_such_part"):
        part.load()

    def lacking(name: str) -> None:
        raise ModuleNotFoundError(name="diffusers.models")

    monkeypatch.setattr(parts.importlib, "import_module", lacking)
    assert "diffusers.models is not installed: install it, or name its folder in PYTHONPATH" in part.load()


def test_no_time_left_still_writes_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correctness, "check", lambda settings: GREEN)
    folder = folder_at(tmp_path / "out")
    assert gpu.run(folder, parts.chosen(["ceilings", "tune", "operator"]), smoke(seconds=0)) == 0
    data = check_files(tmp_path / "out")
    problems = {row["part"]: row.get("problem") for row in data["rows"]}
    assert problems == {"correctness": None} | dict.fromkeys(("ceilings", "tune", "operator"), "no time was left")


def test_a_deadline_ends_a_part_between_two_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_gpu, "peers_of", lambda work, smoke: ("plain", "sdpa", "sdpa_concat"))
    clock = time.monotonic()
    settings = BenchmarkSettings(device=CPU, smoke=True, deadline=clock + 3600)
    rows = []
    for row in operator_gpu.run(settings):
        rows.append(row)
        if len(rows) == 2:
            monkeypatch.setattr(time, "monotonic", lambda: clock + 7200)
    assert [row["peer"] for row in rows] == ["plain", "sdpa"]


def test_red_tests_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    red = Correctness(False, {"part": "correctness", "green": False, "failed": 1, "problem": "1 failed"}, "1 failed\n")
    monkeypatch.setattr(correctness, "check", lambda settings: red)
    assert gpu.run(folder_at(tmp_path), parts.chosen(None), smoke()) == 1
    assert [row["part"] for row in check_files(tmp_path)["rows"]] == ["correctness"]


def test_a_part_that_breaks_leaves_the_others_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(settings: BenchmarkSettings) -> object:
        yield {"part": "tune", "median_ms": 1.0}
        raise RuntimeError("out of luck")

    monkeypatch.setattr(correctness, "check", lambda settings: GREEN)
    monkeypatch.setattr("benchmarks.tune.search.run", breaks)
    assert gpu.run(folder_at(tmp_path), parts.chosen(["tune", "ceilings"]), smoke()) == 1
    rows = check_files(tmp_path)["rows"]
    assert [row["part"] for row in rows] == ["correctness", "ceilings", "ceilings", "tune", "tune"]
    assert rows[-1]["problem"] == "RuntimeError: out of luck"
    assert all(row["median_ms"] > 0 for row in rows[1:3])


def test_a_failing_test_is_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = tmp_path / "test_it.py"
    test.write_text("def test_a(): pass\ndef test_b(): assert 0\n")
    monkeypatch.setattr(correctness, "SMOKE_TESTS", (str(test),))
    found = correctness.check(smoke())
    assert not found.green
    assert {name: found.row[name] for name in ("passed", "failed", "skipped")} == dict(passed=1, failed=1, skipped=0)
    assert "1 failed: nothing is timed" in found.row["problem"]
    assert "test_b" in found.log


@pytest.mark.parametrize(
    ("tests", "seconds", "problem"),
    [
        ("def test_a(): pass\n@pytest.mark.skip\ndef test_b(): pass", 1e6, None),
        ("@pytest.mark.skip\ndef test_a(): pass", 1e6, "no test passed"),
        ("def test_a(): pass\ndef test_b(absent): pass", 1e6, "1 failed"),
        ("import time\ndef test_a(): time.sleep(60)", 0, "the tests did not end in time"),
    ],
)
def test_what_counts_as_green(
    tests: str, seconds: float, problem: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_it.py").write_text(f"import pytest\n{tests}\n")
    monkeypatch.setattr(correctness, "SMOKE_TESTS", (str(tmp_path / "test_it.py"),))
    found = correctness.check(smoke(seconds))
    assert found.green is (problem is None)
    assert (problem or "") in found.row.get("problem", "")


def test_no_pytest_no_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correctness.importlib.util, "find_spec", lambda name: None)
    found = correctness.check(smoke())
    assert not found.green
    assert "pytest is not installed" in found.row["problem"]


@pytest.mark.parametrize("place", ["nvidia-h200", "."])
def test_a_smoke_run_keeps_out_of_the_results(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--smoke", "--out", str(RESULTS / place)])
    assert "must not stand among results" in capsys.readouterr().err
    assert not (RESULTS / "nvidia-h200" / "results.json").exists()


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("an earlier run's")
    folder_at(tmp_path)
    assert not (tmp_path / "results.csv").exists()
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match=r"holds thesis\.tex; give --out an empty or a new folder"):
        folder_at(tmp_path)


def test_more_files_or_bytes_than_allowed_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_at(tmp_path)
    folder.write_log("")
    monkeypatch.setattr(files, "MOST_BYTES", 100)
    with pytest.raises(RuntimeError, match="files of"):
        folder.finish()


def test_arguments_that_cannot_be_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["--smoke"], "--out DIR is needed"),
        (["--out", str(tmp_path), "--minutes", "-1"], "--minutes must be above 0, got -1"),
        (["--out", str(tmp_path), "--only", "everything"], "invalid choice"),
    ):
        with pytest.raises(SystemExit):
            gpu.main(arguments)
        assert message in capsys.readouterr().err
    if not torch.cuda.is_available():
        with pytest.raises(SystemExit):
            gpu.main(["--out", str(tmp_path)])
        assert "no CUDA device; --smoke tries the code on a CPU" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_charts_show_what_was_measured_and_escape_names() -> None:
    def row(peer: str, **values: float) -> Row:
        return {"part": "operator", "mode": "outer", "m": 7, "shape": "a <b>", "peer": peer} | values

    rows = [
        {"part": "ceilings", "tflops": 800.0},
        row("ours", median_ms=1.0, useful_tflops=400.0, peak_mib=10.0),
        row("sdpa", median_ms=1.5, useful_tflops=266.7, peak_mib=30.0),
        row("plain", median_ms=0.4, useful_tflops=390.0, peak_mib=10.0),
        row("flex") | {"problem": "no"},
    ]
    texts = {}
    for name, draw in files.CHARTS.items():
        root = ElementTree.fromstring(draw(rows, "GPU", smoke=False))
        texts[name] = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "a <b>" in texts[name]
        assert "SMOKE" not in texts[name][0]
    assert "400" in texts["achieved.svg"]
    assert "1.5" in texts["speedup.svg"]
    assert "3" in texts["memory.svg"]

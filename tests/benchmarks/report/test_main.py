"""The report says what the results say, marks what is stale, and notices what is not up to date."""

import json
import re
import shutil
from pathlib import Path

import pytest

from benchmarks.common import machine, sources
from benchmarks.common.result_files import RESULTS
from benchmarks.operator.shapes import SHAPES
from benchmarks.report import __main__ as report
from benchmarks.report import collect, cpu, gpu, overview, plots

pytest.importorskip("matplotlib")

GPU_NAME = "NVIDIA H100 80GB HBM3"
PAGE = "# Page\n\nKept.\n\n<!-- generated: cpu-headline -->\nold\n<!-- end of cpu-headline -->\n\nKept too.\n"
DOCS = "".join(
    f"<!-- generated: {name} -->\n<!-- end of {name} -->\n"
    for name in (
        "results",
        "gpu",
        "cpu-operator",
        "plots",
        "cpu-sequence",
        "cpu-denoiser",
        "cpu-throughput",
        "predictions",
    )
)
METRICS = "<!-- generated: paper -->\n<!-- end of paper -->\n"
MACHINE = {
    "processor": "Somebody's CPU",
    "cores": "2",
    "threads": "2",
    "scheduling": "alone",
    "system": "Linux",
    "python": "3.11",
    "torch": "2.13",
    "commit": "0123456789ab",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with the committed CPU results, as if measured just now, their sources, and the pages."""
    ignored = shutil.ignore_patterns("model", "__pycache__", "results", "*.safetensors")
    for folder in ("aid_kernels", "aid_pipeline", "benchmarks"):
        shutil.copytree(machine.ROOT / folder, tmp_path / folder, ignore=ignored)
    for name in ("cpu", "compile_report", "paper"):
        shutil.copytree(RESULTS / name, tmp_path / "benchmarks/results" / name, ignore=ignored)
    for name, patterns in sources.MEASURED.items():
        path = tmp_path / "benchmarks/results" / name
        result = json.loads(path.read_text())
        for part in (result, result.get("memory", {})):
            part["sources"] = sources.recorded(patterns, tmp_path)
        path.write_text(json.dumps(result))
    kernels = tmp_path / "benchmarks/results/compile_report/sources.json"
    kernels.write_text(json.dumps(sources.recorded(sources.KERNELS, tmp_path)))
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(PAGE)
    (tmp_path / "docs/performance.md").write_text(DOCS)
    (tmp_path / "docs/metrics.md").write_text(METRICS)
    return tmp_path


def gpu_result(root: Path, slower: float = 1.0) -> dict:
    """Made up: the numbers of a run on one layer."""
    shape = SHAPES["sdxl-1024 self 4096"]
    rows: list[dict] = [{"part": "ceilings", "peer": "matmul 8192", "median_ms": 1.0, "tflops": 700.0}]
    for peer, milliseconds in (("ours", 1.0 * slower), ("sdpa", 1.4), ("materialized", 9.0), ("plain", 0.5)):
        row = {"part": "operator", "shape": shape.name, "mode": "outer", "m": 7, "heads": shape.heads, "peer": peer}
        row |= {"query_length": 4096, "key_length": 4096, "head_dim": 64, "median_ms": milliseconds}
        rows.append(row | {"useful_tflops": 400 / milliseconds, "ceiling_share": 0.57, "peak_mib": 50.0})
    for m, peer in ((3, "public"), (7, "public"), (3, "auto"), (7, "auto")):
        about = {"part": "denoiser", "shape": "sdxl-1024", "m": m, "compiled": "no", "peer": peer}
        rows += [about | {"what": what, "median_ms": 90.0, "peak_mib": 1.0} for what in ("plain step", "warm-up step")]
        rows.append(about | {"peer": "stock", "what": "plain step", "median_ms": 80.0, "peak_mib": 1.0})
        rates = {"seconds_per_frame": 1.0, "frames_per_second": 1.0, "peak_mib": 9000.0 + m}
        rows.append(about | {"what": "50 steps", "extrapolated_s": 4.0, "low_s": 3.0, "high_s": 5.0} | rates)
    return {"machine": MACHINE | {"gpu": GPU_NAME}, "sources": sources.recorded(sources.GPU, root), "rows": rows}


def put(root: Path, folder: str, result: dict) -> None:
    path = root / "benchmarks/results" / folder / "results.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result))


@pytest.mark.slow
def test_fills_between_the_markers_and_nothing_else(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["--check"], root) == 1
    assert "README.md is not what the results say" in capsys.readouterr().out
    assert (root / "README.md").read_text() == PAGE
    assert report.main([], root) == 0
    text = (root / "README.md").read_text()
    assert text.startswith("# Page\n\nKept.\n\n<!-- generated: cpu-headline -->\n")
    assert text.endswith("\n<!-- end of cpu-headline -->\n\nKept too.\n")
    assert "old" not in text
    medians = json.loads((root / "benchmarks/results/cpu/operator.json").read_text())["cases"][0]["rows"]
    assert f"| {medians[-1]['median_ms']:.0f} |" in text
    assert "Stale" not in text
    written = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert report.main(["--check"], root) == 0
    assert report.main([], root) == 0
    assert written == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_notices_a_typed_figure_and_a_plot_of_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.main([], root)
    readme, plot = root / "README.md", root / "docs/plots/gone.svg"
    readme.write_text(readme.read_text().replace("x |", "0x |"))
    plot.write_text("<svg/>")
    capsys.readouterr()
    assert report.main(["--check"], root) == 1
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["README.md", "docs/plots/gone.svg"]
    report.main([], root)
    assert not plot.exists()
    assert report.main(["--check"], root) == 0


def lines_of(root: Path) -> dict[str, str]:
    """What the overview says of each result's code."""
    rows = [line.split("|") for line in overview.overview(collect.read(root)).splitlines() if line.startswith("| `")]
    return {cells[1].strip(" `"): cells[4].strip() for cells in rows}


@pytest.mark.slow
def test_a_change_of_code_makes_the_results_that_it_decides_stale(root: Path) -> None:
    def stale() -> set[str]:
        return {name for name, code in lines_of(root).items() if code == "stale"}

    everything = set(lines_of(root))
    assert len(everything) == len(sources.MEASURED) + 2  # a memory measured apart, and the compile report
    assert stale() == set()
    operator = root / "aid_kernels/interpolated_attention/impl/sdpa.py"
    code = operator.read_text()
    operator.write_text("# a comment\n" + code + "\nadded = 1\n")
    assert stale() == set()
    operator.write_text(code.replace("PIECES = 8", "PIECES = 4"))
    assert stale() == everything - {"compile_report/compile_report"}
    assert "`PIECES (sdpa.py)` changed since it was measured" in report.fill(PAGE, collect.read(root), [], "README.md")
    operator.write_text(code)
    for file, decided in (
        ("aid_kernels/interpolated_attention/impl/triton/attend.py", {"compile_report/compile_report"}),
        ("aid_pipeline/selection/dynamic.py", {"cpu/selection", "cpu/per_round/selection"}),
        ("aid_pipeline/metrics/fidelity.py", {"paper/paper", "paper/precision"}),
    ):
        path = root / file
        code = path.read_text()
        path.write_text(re.sub(r"^def (\w+)\(", r"def \1(unlike_before, ", code, count=1, flags=re.M))
        assert stale() == decided, file
        path.write_text(code)


def test_a_move_of_files_makes_nothing_stale(root: Path) -> None:
    measured = {
        name for patterns in (*sources.MEASURED.values(), sources.KERNELS) for name in sources.recorded(patterns)
    }
    for path in map(root.joinpath, measured):
        path.rename(path.with_name(f"moved_{path.name}"))
    assert set(lines_of(root).values()) == {"up to date"}


def test_a_result_without_sources_is_stale(root: Path) -> None:
    assert "does not say" in collect.read(root).stale({"rows": []})


@pytest.mark.parametrize(
    "text",
    [
        "<!-- generated: unknown -->\n<!-- end of unknown -->\n",
        "<!-- generated: gpu -->\n",
        "<!-- generated: gpu -->\n<!-- end of plots -->",
    ],
)
def test_wrong_markers(root: Path, text: str) -> None:
    (root / "README.md").write_text(text)
    with pytest.raises(ValueError, match=r"README\.md"):
        report.build(root)


def test_smoke_is_refused(root: Path) -> None:
    put(root, "h100", gpu_result(root) | {"smoke": True})
    with pytest.raises(ValueError, match="smoke"):
        report.build(root)


def test_without_a_gpu_nothing_is_claimed(root: Path) -> None:
    results = collect.read(root)
    assert gpu.measured(results) == gpu.NONE
    text = gpu.predictions(results)
    assert "predicted ms" in text
    assert "measured" not in text
    h100 = next(line for line in text.splitlines() if line.startswith("| H100 | sd21-768 self 9216"))
    assert "Stale" not in text
    line = next(
        line
        for line in results.compiled
        if (line["target"], line["kernel"], line["head_dim"]) == ("sm_90", "outer, J=2", "64")
    )
    assert f"| {line['registers']} | {line['spilled_bytes']} | {line['shared_bytes']} |" in h100


def test_gpu_results_beside_predictions(root: Path) -> None:
    put(root, "h100", gpu_result(root))
    text = gpu.measured(collect.read(root))
    assert "| sdxl-1024 self 4096 | 1.000 | 1.40x | - | - | 9.00x | 400 (57%) | 1.00x |" in text
    assert f"### {GPU_NAME}" in text
    assert "slower than predicted" not in next(line for line in text.splitlines() if "`ours`" in line)
    put(root, "h100", gpu_result(root, slower=10))
    assert "slower than predicted" in next(
        line for line in gpu.measured(collect.read(root)).splitlines() if "`ours`" in line
    )
    drawn = dict(plots.draw_all(collect.read(root)))
    assert {"h100_achieved", "h100_speedup", "h100_sdxl-1024_memory"} <= drawn.keys()
    assert "| sdxl-1024 | 7 | no | `auto` | 90 | 80 | 4.0 (3.0 to 5.0) | 1.00 | 1.000 | 9007 |" in text
    assert "matrix product 700" in drawn["h100_achieved"]


def test_plots_are_the_same_bytes_again(root: Path) -> None:
    first, second = (dict(plots.draw_all(collect.read(root))) for _ in range(2))
    assert first == second
    assert {"cpu_speedup", "cpu_memory"} <= first.keys()
    text = first["cpu_speedup"]
    version = text[text.index("matplotlib ") + 11 :].split("<")[0].strip()
    other = text.replace(f"matplotlib {version}", "matplotlib 3.9.0").replace("<path", "<path ")
    assert plots.same(other, text)
    assert not plots.same(text.replace("<path", "<path "), text)
    assert not plots.same(other.replace("data ", "data 0"), text)
    assert not plots.same("", text)


def test_case_names_tell_the_cases_apart(root: Path) -> None:
    names = [cpu.case_name(entry["case"]) for entry in collect.read(root).cpu["operator"]["cases"]]
    assert len(set(names)) == len(names)

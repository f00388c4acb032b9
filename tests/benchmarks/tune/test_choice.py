"""The tuner on made-up timings: what it keeps, what is noise, what it tries, which file it makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from aid_kernels.interpolated_attention.tuning.files import ConfigFileError, parse
from aid_kernels.interpolated_attention.tuning.tile_sizes import fit
from benchmarks.common import machine as machines
from benchmarks.common.settings import BenchmarkSettings, Row
from benchmarks.tune import __main__ as tune
from benchmarks.tune import choice
from benchmarks.tune.space import Candidate, candidates, for_many, usual

USUAL = usual("outer", "sm_90", 2, 64, 4096, 4096)
BEST, OTHER = (replace(USUAL, setting=replace(USUAL.setting, block_n=block)) for block in (64, 32))


def row(candidate: Candidate | None, *times: float, stage: str = "final", **changes: Any) -> list[Row]:
    base: Row = dict(part="tune", shape="made up", mode="outer", m=7, heads=10, dtype="bfloat16", head_dim=64)
    base |= dict(query_length=4096, key_length=4096, masked=False, sources=2, round=stage) | changes
    base["peer"] = "sdpa" if candidate is None else "usual" if candidate == USUAL else "candidate"
    return [base | ({} if candidate is None else candidate.row()) | {"median_ms": time} for time in times]


def test_what_wins_by_more_than_the_noise_is_kept() -> None:
    rows = row(USUAL, 1.0, 1.01, 1.0) + row(BEST, 0.9, 0.9, 0.91) + row(OTHER, 0.95, 0.96, 0.95)
    entry = choice.choose(rows + row(None, 1.2, 1.2, 1.21))
    assert entry["config"] == BEST.row()
    assert (entry["triton_ms"], entry["sdpa_ms"], entry["auto"]) == (0.9, 1.2, "triton")
    assert [runner["config"] for runner in entry["runners_up"]] == [OTHER.row(), USUAL.row()]
    assert entry["noise"] == pytest.approx(0.01 / 0.9, abs=1e-3)


def test_a_gain_within_the_noise_changes_nothing() -> None:
    rows = row(USUAL, 1.0, 1.1, 1.0) + row(BEST, 0.95, 0.95, 0.95) + row(None, 1.05, 1.05, 1.05)
    entry = choice.choose(rows)
    assert entry["config"] == USUAL.row()
    assert entry["auto"] == "sdpa"
    # nor does one below the floor, however steady the clock
    rows = row(USUAL, 1.0, 1.0, 1.0) + row(BEST, 0.995, 0.995, 0.995) + row(None, 2.0, 2.0, 2.0)
    entry = choice.choose(rows)
    assert entry["config"] == USUAL.row()
    assert entry["auto"] == "triton"


def test_where_the_usual_one_cannot_run_the_best_is_kept() -> None:
    failed = row(USUAL, 0.0, stage="first")[0] | {"problem": "spills 80 bytes"}
    entry = choice.choose([failed, *row(BEST, 0.5, 0.5), *row(None, 0.4, 0.4)])
    assert entry["config"] == BEST.row()
    assert entry["auto"] == "sdpa"
    assert entry["runners_up"] == []


def test_a_round_that_was_cut_short_decides_nothing() -> None:
    assert choice.choose(row(BEST, 0.5, stage="first")) is None
    assert choice.choose(row(BEST, 0.5)) is None


def test_outer_needs_few_and_many_sources() -> None:
    few = row(BEST, 0.9) + row(None, 1.0)
    many = row(BEST, 1.9, sources=3) + row(None, 2.5, sources=3)
    inner = row(replace(BEST, mix="before"), 0.9, mode="inner") + row(None, 1.0, mode="inner")
    assert choice.entries(few) == []
    assert [entry["sources"] for entry in choice.entries(few + many)] == [2, 3]
    assert [entry["mode"] for entry in choice.entries(few + inner)] == ["inner"]


def test_the_file_is_one_that_the_package_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "result_name", lambda device: "NVIDIA H200")
    settings, machine = BenchmarkSettings(device=torch.device("cpu")), {"commit": "abc"}
    rows = row(BEST, 0.9) + row(None, 1.0) + row(BEST, 1.9, sources=3) + row(None, 2.5, sources=3)
    assert tune.write(tmp_path, [], machine, settings) is None
    path = tune.write(tmp_path, rows, machine, settings)
    assert path == tmp_path / "nvidia-h200.json"
    gpu, entries = parse(json.loads(path.read_text()), "made")
    assert gpu == "NVIDIA H200"
    assert [(entry.sources, entry.config, entry.auto) for entry in entries] == [
        (2, BEST.setting, "triton"),
        (3, BEST.setting, "triton"),
    ]
    # measured again: that bucket is replaced, whole, and the others stay
    again = row(OTHER, 0.8) + row(None, 0.7) + row(OTHER, 1.9, sources=3) + row(None, 2.5, sources=3)
    tune.write(tmp_path, [one | {"query_length": 64} for one in rows], machine, settings)
    tune.write(tmp_path, again, machine, settings)
    _, entries = parse(json.loads(path.read_text()), "made")
    found = [(entry.bucket.query_length, entry.config, entry.auto) for entry in entries]
    assert found == [
        (64, BEST.setting, "triton"),
        (64, BEST.setting, "triton"),
        (4096, OTHER.setting, "sdpa"),
        (4096, OTHER.setting, "triton"),
    ]
    smoke = tune.write(tmp_path / "smoke", rows, machine, replace(settings, smoke=True))
    with pytest.raises(ConfigFileError, match="smoke run"):
        parse(json.loads(smoke.read_text()), "made")


def test_a_smoke_run_never_writes_the_shipped_folder(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--smoke"], ["--smoke", "--out", str(tune.SHIPPED)]):
        with pytest.raises(SystemExit):
            tune.main(arguments)
        assert "a folder other than the package's own" in capsys.readouterr().err


def test_candidates_start_with_the_usual_one_and_cover_what_the_kernel_offers() -> None:
    for mode, dim, length, keys in (("outer", 64, 4096, 4096), ("inner", 80, 1024, 77), ("outer", 160, 64, 64)):
        found = candidates(mode, "sm_90", 2, dim, length, keys)
        assert found[0] == usual(mode, "sm_90", 2, dim, length, keys)
        assert len(found) == len(set(found)) > 15
        assert {made.mix for made in found} == ({None} if mode == "outer" else {"before", "fused"})
        assert {made.setting.pad for made in found} == ({False} if dim == 64 else {False, True})
        assert {made.setting.slices for made in found} == ({1, 2} if dim == 160 else {1})
        for made in found:
            tiles = fit("sm_90", dim, made.setting, 4096).tiles
            assert tiles.key_main + tiles.key_rest >= dim


def test_more_sources_keep_the_order_of_sums() -> None:
    chosen = candidates("outer", "sm_90", 2, 160, 1024, 1024)[5]
    for made in for_many(chosen):
        assert (
            replace(made.setting, slices=chosen.setting.slices, num_stages=chosen.setting.num_stages) == chosen.setting
        )
    assert {made.setting.slices for made in for_many(chosen)} >= {2, 4}


COMPILES = """
from dataclasses import replace
from benchmarks.compile_report import compiled_kernel
from benchmarks.operator.shapes import LayerShape
from benchmarks.tune.compile import problem_of
from benchmarks.tune.space import usual

shape = LayerShape("tiny", 2, 64, 64, 16)
first = usual("inner", "sm_90", 2, 16, 64, 64)
assert problem_of("inner", "sm_90", shape, "bfloat16", 4, 2, replace(first, mix="before")) is None
compiled_kernel.ARCHITECTURES["sm_90"] = replace(compiled_kernel.ARCHITECTURES["sm_90"], shared_limit=16)
problem = problem_of("inner", "sm_90", shape, "bfloat16", 4, 2, replace(first, mix="before"))
assert "bytes of shared memory, the chip has 16" in problem, problem
impossible = replace(first, setting=replace(first.setting, block_n=48), mix="before")
assert "does not compile" in problem_of("inner", "sm_90", shape, "bfloat16", 4, 2, impossible)
"""


@pytest.mark.slow
def test_candidates_are_compiled_ahead_and_those_that_cannot_run_are_named() -> None:
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    subprocess.run([sys.executable, "-c", COMPILES], env=environment, check=True, timeout=280)

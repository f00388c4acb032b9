"""Arithmetic of a GPU run's rows: work, percentiles, rotation; and the peers that only a GPU run has."""

from __future__ import annotations

import pytest
import torch

from aid_kernels import InterpolationPlan
from benchmarks.common import timing
from benchmarks.common.settings import BenchmarkSettings
from benchmarks.operator import gpu
from benchmarks.operator.peers import PEERS, check_sample, missing
from benchmarks.operator.shapes import FRAMES, SHAPES, LayerShape, Work, works

CPU = torch.device("cpu")


def test_useful_flops_by_hand() -> None:
    shape = LayerShape("by hand", 10, 4096, 77, 64)
    unit = 2 * 2 * 10 * 4096 * 77 * 64  # Q K^T and P V, a multiplication and an addition each
    assert Work(shape, "outer", 7).useful_flops() == (2 * 1 + 5 * 3) * unit
    assert Work(shape, "inner", 7).useful_flops() == (2 * 1 + 5 * 2) * unit
    assert Work(shape, "outer", 3).useful_flops() == 5 * unit


def test_shapes_are_those_of_the_models() -> None:
    sizes = {(s.heads, s.query_length, s.key_length, s.head_dim) for s in SHAPES.values()}
    assert {
        (10, 4096, 4096, 64),
        (8, 4096, 4096, 40),
        (8, 64, 77, 160),
        (5, 9216, 9216, 64),
        (24, 4608, 4608, 128),
    } <= sizes
    assert next(iter(SHAPES)) == "sdxl-1024 self 4096"
    cases = works(smoke=False)
    assert {case.frames for case in cases} == {3, 7, 15, 31}
    assert all(case.frames == FRAMES for case in cases[: 2 * len(SHAPES)])
    assert len(cases) == len(set(cases)) == 2 * 4 * len(SHAPES)


def test_percentiles() -> None:
    found = timing.summarize([5.0, 1.0, 2.0, 3.0, 4.0, 6.0])
    assert (found.p20_ms, found.median_ms, found.p80_ms, found.rounds) == (2.0, 3.5, 5.0, 6)


def test_inputs_rotate_until_they_are_larger_than_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "l2_bytes", lambda device: 50 * 2**20)
    gpu = torch.device("cuda")
    assert timing.rotation(30 * 2**20, gpu) == 4
    assert timing.rotation(2**30, gpu) == 2
    assert timing.rotation(1000, gpu) == timing.MOST_SETS


def test_calls_are_taken_in_turns() -> None:
    places: list[int] = []
    timing.measure(places.append, 2, CPU)
    assert places == [place % 2 for place in range(timing.CPU_ROUNDS)]


@pytest.mark.parametrize("fuse_self", [True, False])
@pytest.mark.parametrize("peer", ["sdpa_compiled", "flex"])
@pytest.mark.parametrize("mode", PEERS)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_merging_peers_compute_the_same(mode: str, peer: str, fuse_self: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(4, 9, 2, 16, generator=generator).transpose(1, 2) for _ in range(3))
    plan = InterpolationPlan.sequence([0, 0.2, 0.7, 1])
    out = PEERS[mode][peer](query, key, value, plan, fuse_self)
    exact = PEERS[mode]["reference"](query.double(), key.double(), value.double(), plan, fuse_self)
    assert (out - exact).abs().max() < 1e-5
    if fuse_self:
        assert check_sample(mode, out, query, key, value, plan) < 1e-5
        with pytest.raises(AssertionError, match="not timed"):
            check_sample(mode, out.roll(1, dims=1), query, key, value, plan)


def test_peers_that_are_not_installed_are_named() -> None:
    assert missing("ours") is None
    assert missing("sage") in (None, "sageattention is not installed")


def test_rows_of_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(LayerShape("tiny", 2, 16, 16, 8), "outer", 3)
    monkeypatch.setattr(gpu, "works", lambda smoke: [work])
    monkeypatch.setattr(gpu, "peers_of", lambda work, smoke: ("sdpa", "plain", "absent"))
    monkeypatch.setattr(gpu, "matmul_flops_per_second", lambda settings: 1e9)
    sdpa, plain, absent = gpu.run(BenchmarkSettings(device=CPU, dtype=torch.float32, smoke=True))
    unit = 4 * 2 * 16 * 16 * 8
    for row, flops in ((sdpa, 5 * unit), (plain, 3 * unit)):
        assert row["useful_tflops"] == pytest.approx(flops / row["median_ms"] * 1e3 / 1e12)
        assert row["ceiling_share"] == pytest.approx(row["useful_tflops"] * 1e12 / 1e9)
        assert row["peak_mib"] > 0
        assert row["error"] < 1e-5
    assert absent["problem"] == "KeyError: 'absent'"
    assert {row["part"] for row in (sdpa, plain, absent)} == {"operator"}

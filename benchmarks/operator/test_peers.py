"""CPU microbenchmarks of the peers: `pytest benchmarks --benchmark-only`, checked before they are timed."""

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from aid_kernels import InterpolationPlan
from benchmarks.operator.peers import PEERS, check, oracle

HEADS, LENGTH, HEAD_DIM = 4, 256, 64


@pytest.mark.parametrize("peer", ["reference", "materialized", "sdpa_concat", "sdpa"])
@pytest.mark.parametrize("frames", [3, 7, 15])
@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_operator(benchmark: BenchmarkFixture, mode: str, frames: int, peer: str) -> None:
    benchmark.group = f"{mode}, {frames} frames, {HEADS} x {LENGTH} x {HEAD_DIM}, float32"
    torch.manual_seed(0)
    query, key, value = (torch.randn(frames, HEADS, LENGTH, HEAD_DIM) for _ in range(3))
    arguments = query, key, value, InterpolationPlan.sequence(torch.linspace(0, 1, frames)), True
    check(PEERS[mode][peer](*arguments), oracle(mode, *arguments))
    benchmark(PEERS[mode][peer], *arguments)

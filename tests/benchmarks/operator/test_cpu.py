"""The CPU benchmark measures what it says: equal work, exact memory, results written only where asked."""

import json
from pathlib import Path

import pytest
import torch

from aid_kernels import InterpolationPlan
from benchmarks.common.memory import peak_extra_bytes
from benchmarks.operator import cpu
from benchmarks.operator.peers import PEERS, check, oracle

PLAN = InterpolationPlan.sequence([0, 0.2, 0.7, 1])
TINY = cpu.PeerCase(frames=4, heads=2, query_length=16, key_length=16, head_dim=8, peers=cpu.ALL, rounds=2)


def tensors() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 2, 9, 8, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("fuse_self", [True, False])
@pytest.mark.parametrize("peer", ["reference", "materialized", "sdpa_concat", "sdpa"])
@pytest.mark.parametrize("mode", PEERS)
def test_peers_compute_the_same(mode: str, peer: str, fuse_self: bool) -> None:
    arguments = *tensors(), PLAN, fuse_self
    check(PEERS[mode][peer](*arguments), oracle(mode, *arguments))


@pytest.mark.parametrize("mode", PEERS)
def test_wrong_results_are_not_timed(mode: str) -> None:
    exact = oracle(mode, *tensors(), PLAN, True)
    other = PEERS["inner" if mode == "outer" else "outer"]["sdpa"](*tensors(), PLAN, True)
    for wrong in (other, torch.zeros_like(other), torch.full_like(other, torch.nan)):
        with pytest.raises(AssertionError, match="not timed"):
            check(wrong, exact)


def test_peers_refuse_what_they_do_not_compute() -> None:
    chain = InterpolationPlan.keyframes([0, 0.5, 1, 2])
    with pytest.raises(ValueError, match="endpoints first and last"):
        PEERS["outer"]["sdpa_concat"](*tensors(), chain, True)


def test_peak_memory_is_exact() -> None:
    values = torch.ones(1 << 20)  # 4 MiB
    peak = peak_extra_bytes(lambda: values + 1)
    assert values.nbytes <= peak < values.nbytes + 4096
    # the first sum is still there when the second result is made, the result of the first call is not
    peak = peak_extra_bytes(lambda: (values + 1) * 2)
    assert 2 * values.nbytes <= peak < 2 * values.nbytes + 4096


@pytest.mark.slow
def test_results_are_written_with_machine_and_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "cases", lambda quick: [TINY])
    cpu.main(["--quick", "--threads", str(torch.get_num_threads()), "--out", str(tmp_path)])
    result = json.loads((tmp_path / "operator.json").read_text())
    assert {"processor", "cores", "torch", "commit"} <= result["machine"].keys()
    rows = result["cases"][0]["rows"]
    assert [row["peer"] for row in rows] == list(cpu.ALL)
    mine = next(row for row in rows if row["peer"] == "sdpa")
    for row in rows:
        assert row["p20_ms"] <= row["median_ms"] <= row["p80_ms"]
        assert row["sdpa_is_faster_by"] == pytest.approx(row["median_ms"] / mine["median_ms"])
    # a row's result may depend on its batch by a few roundings, no more
    for row in result["batch_mates"]:
        assert row["largest_difference"] <= 8 * row["one_rounding"]
    page = (tmp_path / "operator.md").read_text()
    assert all(f"| `{peer}` |" in page for peer in cpu.ALL)


def test_quick_run_leaves_committed_results_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "cases", lambda quick: [TINY])
    monkeypatch.setattr(cpu, "CPU", cpu.CPU / "not to be written")
    monkeypatch.setattr(cpu, "MATE_SHAPES", ((5, 5, 8),))
    cpu.main(["--quick", "--threads", str(torch.get_num_threads())])
    assert not cpu.CPU.exists()

"""The cost model against values worked out by hand and the formula it stands on."""

import pytest

from benchmarks.compile_report.chips import CHIPS, chip_of
from benchmarks.compile_report.cost_model import LAUNCH, PEERS, Call, Kernel, far, predict
from benchmarks.operator.shapes import works

BY_NAME = {chip.name: chip for chip in CHIPS}
H100 = BY_NAME["H100"]


@pytest.mark.parametrize(
    ("name", "tflops"), [("A100", 312), ("RTX 4090", 165.2), ("H100", 989.4), ("H200", 989.4), ("B200", 2250)]
)
def test_peaks_are_the_published_ones(name: str, tflops: float) -> None:
    assert BY_NAME[name].peak / 1e12 == pytest.approx(tflops, rel=0.004)


@pytest.mark.parametrize("head_dim", [64, 80])
def test_a_large_call_comes_near_what_is_attainable(head_dim: int) -> None:
    """peak * D / (D + 64): launch, grid and traffic vanish beside 12,672 blocks of queries, 96 a multiprocessor."""
    call = Call("outer", 66, 6, 4096, 4096, head_dim)
    attainable = H100.attainable(head_dim, head_dim) / 1e12
    assert attainable == pytest.approx(989.4 * head_dim / (head_dim + 64), rel=0.002)
    assert predict("ours", call, H100).tflops == pytest.approx(attainable, rel=0.01)


def test_a_kernel_by_hand() -> None:
    """m = 7, 10 heads, 4096 x 4096, D = 64 (SDXL self-attention)."""
    call = Call("outer", 7, 10, 4096, 4096, 64)
    assert call.units == 5 * 3 + 2
    assert call.useful_flop == 4 * 17 * 10 * 4096 * 4096 * 64
    (kernel,) = PEERS["ours"](call, H100)
    pairs = 17 * 10 * 4096 * 4096
    assert kernel.mma == pairs * 4 * 64
    assert kernel.exp2 == pairs
    assert kernel.l2 == pairs / 128 * 2 * 64 * 2
    assert kernel.hbm == 4 * (7 * 10 * 4096 * 64 * 2)  # queries, output, keys, values
    assert kernel.programs == 7 * 10 * 32
    # 2240 programs on 132 multiprocessors take 17 turns, the last one almost full
    cycles = (kernel.mma / 4096 + kernel.exp2 / 16) / (2240 / 17)
    assert kernel.seconds(H100)["compute"] == pytest.approx(cycles / 1.83e9)
    assert predict("ours", call, H100).milliseconds == pytest.approx(1e3 * (cycles / 1.83e9 + LAUNCH))
    assert predict("ours", call, H100).bound == "compute"


def test_short_work_is_bound_by_launches_and_idle_multiprocessors() -> None:
    call = Call("outer", 3, 8, 64, 77, 160)
    assert predict("ours", call, H100).bound == "launch"
    assert predict("ours", call, H100).milliseconds < predict("sdpa", call, H100).milliseconds
    few, many = (Kernel("k", mma=1e9, programs=count).seconds(H100)["compute"] for count in (1, 132))
    assert few == pytest.approx(132 * many)
    assert Kernel("k", mma=1e9, programs=133).seconds(H100)["compute"] == pytest.approx(many * 2 * 132 / 133)


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_materialized_is_the_slowest_of_all(chip) -> None:
    call = Call("outer", 7, 8, 4096, 4096, 64)
    times = {peer: predict(peer, call, chip).milliseconds for peer in PEERS}
    assert max(times, key=lambda peer: times[peer]) == "materialized"
    assert times["sdpa"] <= times["sdpa_concat"]


def test_says_when_a_measurement_is_far() -> None:
    assert far(1.4, 1.0) == far(0.7, 1.0) == ""
    assert far(3.0, 1.0) == "3.0x slower than predicted"
    assert far(0.5, 1.0) == "2.0x faster than predicted"


def test_chips_by_the_drivers_names() -> None:
    assert chip_of("NVIDIA H200") is BY_NAME["H200"]
    assert chip_of("NVIDIA A100-SXM4-80GB") is BY_NAME["A100"]
    assert chip_of("NVIDIA GeForce RTX 4090") is BY_NAME["RTX 4090"]
    assert chip_of("Tesla T4") is None


def test_counts_what_the_measurements_count() -> None:
    for work in works(smoke=False):
        shape = work.shape
        call = Call(work.mode, work.frames, shape.heads, shape.query_length, shape.key_length, shape.head_dim)
        assert call.useful_flop == work.useful_flops()


def test_unknown_peer() -> None:
    with pytest.raises(KeyError, match="flex"):
        predict("flex", Call("outer", 7, 8, 64, 64, 64), H100)

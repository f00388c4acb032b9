"""The cost model against values worked out by hand and the formula it stands on."""

from dataclasses import replace

import pytest

from aid_kernels.interpolated_attention.tuning.tile_sizes import configure
from benchmarks.compile_report.chips import CHIPS, chip_of
from benchmarks.compile_report.cost_model import LAUNCH, PEERS, Call, Kernel, far, predict
from benchmarks.compile_report.loop_cycles import LOOPS, bounded_cycles, segment_cycles
from benchmarks.compile_report.loops import Loop, recorded_loops
from benchmarks.operator.shapes import works

BY_NAME = {chip.name: chip for chip in CHIPS}
H100 = BY_NAME["H100"]


@pytest.mark.parametrize(
    ("name", "tflops"), [("A100", 312), ("RTX 4090", 165.2), ("H100", 989.4), ("H200", 989.4), ("B200", 2250)]
)
def test_peaks_are_the_published_ones(name: str, tflops: float) -> None:
    assert BY_NAME[name].peak / 1e12 == pytest.approx(tflops, rel=0.004)


@pytest.mark.parametrize("head_dim", [64, 80])
def test_a_large_call_is_below_what_products_and_exponentials_alone_allow(head_dim: int) -> None:
    """peak * D / (D + 64): launch, grid and traffic vanish; what is missing are maxima and what else a loop does."""
    call = Call("outer", 66, 6, 4096, 4096, head_dim)
    attainable = H100.attainable(head_dim, head_dim) / 1e12
    assert attainable == pytest.approx(989.4 * head_dim / (head_dim + 64), rel=0.002)
    assert 0.75 * attainable < predict("ours", call, H100).tflops < attainable


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
    # 5 x 3 + 2 segments of 32 blocks of keys, for 320 blocks of queries; one program, so its pipes one after the other
    loop = recorded_loops(LOOPS)["sm_90", "outer, J=2", "bfloat16", 64][0]
    assert (loop.keys, loop.programs) == (128, 1)
    assert kernel.cycles == pytest.approx(17 * 32 * 320 * loop.serial, rel=0.01)
    # 2240 programs on 132 multiprocessors take 17 turns, the last one almost full
    assert kernel.cycles is not None
    cycles = kernel.cycles / (2240 / 17)
    assert kernel.seconds(H100)["compute"] == pytest.approx(cycles / 1.83e9)
    assert predict("ours", call, H100).milliseconds == pytest.approx(1e3 * (cycles / 1.83e9 + LAUNCH))
    assert predict("ours", call, H100).bound == "compute"


def test_tails_are_counted_one_by_one_and_several_programs_overlap() -> None:
    main = Loop(128, 1, 472, 1024, 1056, 360, 492, 944, 896, 1439, 1056, 2352, 3030, 1, 0, 1, 3, 16, 0, 0)
    tail = replace(main, keys=32, ideal=446, serial=806, in_order=1728, loads=2, copies=0)
    tiles = configure("sm_90", 2, 64, many=False, masked=False, inner=False, queries=4096, keys=333).tiles
    # 333 keys: two blocks, and 77 keys in three tails
    assert segment_cycles([main, tail], tiles, 333, lambda loop: loop.serial) == 2 * 2352 + 3 * 806
    assert [bounded_cycles(loop) for loop in (main, replace(main, programs=2))] == [2352, 1176]
    assert bounded_cycles(replace(main, programs=4)) == 1056
    assert bounded_cycles(tail) == 1728
    short = configure("sm_90", 2, 64, many=False, masked=False, inner=False, queries=4096, keys=77).tiles
    assert segment_cycles([replace(main, keys=32, serial=860)], short, 77, lambda loop: loop.serial) == 3 * 860


def test_a_cross_attention_takes_at_most_6500_cycles() -> None:
    """For 128 queries and three segments of 77 keys, what stock attention needs 283 MB of traffic for."""
    for dim in (40, 64):
        loops = recorded_loops(LOOPS)["sm_90", "outer, J=2, 77 keys", "bfloat16", dim]
        assert len(loops) == 3
        assert sum(3 * loop.in_order for loop in loops) <= 6500
        assert {(loop.programs, loop.loads, loop.local_accesses) for loop in loops} == {(2, 0, 0)}


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

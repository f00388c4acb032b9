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


PADDED = [(64, 64, 495), (128, 128, 660), (40, 64, 309), (80, 128, 412), (160, 256, 495)]
SPLIT = [(40, 48, 353), (80, 80, 550), (160, 160, 707)]


@pytest.mark.parametrize(("head_dim", "width", "tflops"), [*PADDED, *SPLIT])
def test_attainable_on_hopper(head_dim: int, width: int, tflops: float) -> None:
    """peak * D / (D_pad + 64), padded to a power of two and in split tiles."""
    assert H100.exp2_width == 64
    assert H100.attainable(head_dim, width) / 1e12 == pytest.approx(tflops, abs=0.6)


@pytest.mark.parametrize(("head_dim", "width"), [(64, 64), (128, 128), (40, 48), (80, 80), (160, 160)])
def test_a_large_call_comes_near_what_is_attainable(head_dim: int, width: int) -> None:
    """Launch, grid and traffic vanish beside 12,672 blocks of queries, 96 for each multiprocessor."""
    call = Call("outer", 66, 6, 4096, 4096, head_dim)
    (kernel,) = PEERS["ours"](call, H100)
    assert kernel.programs == 66 * 6 * 32
    seconds = kernel.seconds(H100)
    assert call.useful_flop / seconds["compute"] == pytest.approx(H100.attainable(head_dim, width))
    assert predict("ours", call, H100).tflops == pytest.approx(H100.attainable(head_dim, width) / 1e12, rel=0.01)


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


def test_slices_repeat_the_first_product_and_the_exponentials() -> None:
    """A100, D = 160: 128 + 32 columns of keys, two slices of 64 + 16 value columns."""
    call = Call("outer", 3, 8, 256, 256, 160)
    (kernel,) = PEERS["ours"](call, BY_NAME["A100"])
    pairs = (3 + 1 + 1) * 8 * 256 * 256 * 2
    assert kernel.exp2 == pairs
    assert kernel.mma == pairs * 2 * (160 + 80)
    assert kernel.programs == 3 * 8 * 2 * 2


def test_short_work_is_bound_by_launches_and_idle_multiprocessors() -> None:
    call = Call("outer", 3, 8, 64, 77, 160)
    assert predict("ours", call, H100).bound == "launch"
    assert predict("ours", call, H100).milliseconds < predict("sdpa", call, H100).milliseconds
    few, many = (Kernel("k", mma=1e9, programs=count).seconds(H100)["compute"] for count in (1, 132))
    assert few == pytest.approx(132 * many)
    assert Kernel("k", mma=1e9, programs=133).seconds(H100)["compute"] == pytest.approx(many * 2 * 132 / 133)


def test_inner_mixes_long_keys_before_and_short_ones_on_the_way() -> None:
    long, short = Call("inner", 7, 8, 1024, 1024, 64), Call("inner", 7, 8, 1024, 77, 64)
    assert [kernel.name for kernel in PEERS["ours"](long, H100)] == ["mix", "attention"]
    assert [kernel.name for kernel in PEERS["ours"](short, H100)] == ["attention"]
    assert long.units == 5 * 2 + 2


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
@pytest.mark.parametrize("mode", ["outer", "inner"])
@pytest.mark.parametrize("fuse_self", [True, False])
def test_materialized_is_the_slowest_of_all(mode: str, fuse_self: bool, chip) -> None:
    call = Call(mode, 7, 8, 4096, 4096, 64, fuse_self)
    times = {peer: predict(peer, call, chip).milliseconds for peer in PEERS}
    assert max(times, key=lambda peer: times[peer]) == "materialized"
    assert times["sdpa"] <= times["sdpa_concat"]


def test_probabilities_go_through_memory_four_times() -> None:
    call = Call("outer", 3, 1, 128, 128, 64)
    logits = 3 * 128 * 256
    moved = [kernel.hbm for kernel in PEERS["materialized"](call, H100) if kernel.name == "softmax"]
    assert moved == [2 * 2 * logits] * 2


def test_users_are_rows_of_one_launch() -> None:
    one, four = Call("outer", 7, 8, 256, 256, 64), Call("outer", 7, 8, 256, 256, 64, users=4)
    assert four.useful_flop == 4 * one.useful_flop
    assert predict("ours", four, H100).milliseconds < 4 * predict("ours", one, H100).milliseconds


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

"""The kernels on a GPU, skipped without one; `python -m benchmarks.gpu` runs them before it times anything."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from aid_kernels import InterpolationPlan, explain
from aid_kernels.interpolated_attention.tuning import files
from tests.testing import OPS, Case, assert_accepted, covering_cases

DEVICE = torch.device("cuda")
F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def on_device(value: object) -> object:
    """The same values with the same strides: the whole storage goes over, and is viewed as it was."""
    if isinstance(value, tuple):
        return tuple(on_device(part) for part in value)
    if isinstance(value, InterpolationPlan):
        return value.to(DEVICE)
    if not isinstance(value, Tensor):
        return value
    whole = torch.empty(0, dtype=value.dtype).set_(value.untyped_storage())
    return whole.to(DEVICE, copy=True).as_strided(value.shape, value.stride(), value.storage_offset())


def run(case: Case, **changes: object) -> Tensor:
    arguments = {name: on_device(value) for name, value in (case.inputs() | changes).items()}
    return OPS[case.mode](**arguments, impl="triton")


@pytest.fixture(autouse=True)
def poison(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every result and every mixed key is NaN before the launch, so that an element nobody wrote shows."""
    from aid_kernels.interpolated_attention.impl.triton import forward

    plain = forward.empty_output
    monkeypatch.setattr(forward, "empty_output", lambda query: plain(query).fill_(torch.nan))
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("case", covering_cases(), ids=str)
def test_kernel_is_accepted(case: Case) -> None:
    assert_accepted(run(case).cpu(), case.mode, case.inputs())


def every_head_size() -> list[Case]:
    modes, dtypes, layouts = (itertools.cycle(one) for one in (OPS, (BF16, F16, F32), ("transposed", "fused", "dense")))
    return [
        Case(mode=next(modes), head_dim=dim, dtype=next(dtypes), layout=next(layouts), query_length=130, key_length=70)
        for dim in range(8, 257, 8)
    ]


@pytest.mark.parametrize("case", every_head_size(), ids=str)
def test_every_head_size(case: Case) -> None:
    assert_accepted(run(case).cpu(), case.mode, case.inputs())


@pytest.mark.parametrize("dim", [40, 64, 80, 128, 160])
@pytest.mark.parametrize("mode", OPS)
def test_long_sequences_in_half_precision(mode: str, dim: int) -> None:
    """Many blocks of keys and a tail; lengths that no block size divides."""
    case = Case(mode=mode, head_dim=dim, dtype=BF16, layout="transposed", query_length=333, key_length=1061)
    assert_accepted(run(case).cpu(), mode, case.inputs())


@pytest.mark.parametrize("dim", [128, 160, 256])
def test_many_sources_on_wide_heads(dim: int) -> None:
    """Where the value columns of a block are split over programs."""
    weights = ((0.0,) * 3, (0.2, 0.3, 0.5), (0.0, 0.6, 0.4), (0.0,) * 3)
    case = Case(head_dim=dim, dtype=BF16, sources=((0, 1, 3),) * 4, weights=weights, key_length=200)
    assert_accepted(run(case).cpu(), "outer", case.inputs())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", OPS)
def test_seeds(mode: str, seed: int) -> None:
    case = Case(mode=mode, head_dim=64, dtype=BF16, seed=seed, query_length=300, key_length=300)
    assert_accepted(run(case).cpu(), mode, case.inputs())


@pytest.mark.parametrize("mode", OPS)
def test_run_to_run_every_bit_is_the_same(mode: str) -> None:
    case = Case(mode=mode, head_dim=64, dtype=BF16, query_length=1000, key_length=1000)
    first = run(case)
    assert all(torch.equal(run(case), first) for _ in range(10))


@pytest.mark.parametrize("case", [Case(dtype=BF16), Case(mode="inner", dtype=F16, key_length=150)], ids=str)
def test_batch_invariance(case: Case) -> None:
    """Bit for bit: alone, in another order, and with a slot of weight zero, which makes the loop a run-time one."""
    weights = ((0.0, 0.0), (0.7, 0.3), (0.0, 0.0), (0.5, 0.5))
    case = case.but(sources=((0, 2), (0, 2), (0, 2), (2, 1)), weights=weights, head_dim=64)
    arguments = case.inputs()
    whole, plan, bank = run(case), arguments["plan"], (arguments["k"], arguments["v"])

    def some(rows: list[int], chosen: InterpolationPlan) -> Tensor:
        parts = {name: arguments[name][rows] for name in ("q", "k", "v")}
        return run(case, **parts, plan=chosen, bank=bank)

    for rows in ([1], [3, 2, 1, 0], [2, 3]):
        assert torch.equal(some(rows, plan.select(rows)), whole[rows])
    padded = InterpolationPlan(
        torch.nn.functional.pad(plan.sources, (0, 1)), torch.nn.functional.pad(plan.weights, (0, 1))
    )
    assert torch.equal(some([0, 1, 2, 3], padded), whole)


@pytest.mark.parametrize("mode", OPS)
def test_views_beyond_two_to_the_31_elements(mode: str) -> None:
    """Positions 2^26 elements apart: offsets within a row and within a tile pass 2^31."""
    step = 2**26
    if torch.cuda.mem_get_info(DEVICE)[0] < 3 * 40 * step:
        pytest.skip("needs 8 GB of free GPU memory")
    case = Case(mode=mode, heads=1, head_dim=8, dtype=F16, query_length=40, key_length=40)
    small = case.inputs()
    storage = torch.empty(40 * step, dtype=F16, device=DEVICE)
    large = {name: on_device(value) for name, value in small.items()}
    for place, name in enumerate(("q", "k", "v")):
        large[name] = storage.as_strided(small[name].shape, (8, 8, step, 1), place * 24).copy_(small[name])
    assert_accepted(OPS[mode](**large, impl="triton").cpu(), mode, small)


@pytest.mark.parametrize("mode", OPS)
def test_rows_beyond_two_to_the_31_elements(mode: str) -> None:
    """Batch entries further apart than int32 reaches."""
    step = 2**30 + 64
    if torch.cuda.mem_get_info(DEVICE)[0] < 8 * step:
        pytest.skip("needs 8 GB of free GPU memory")
    case = Case(mode=mode, heads=1, head_dim=8, dtype=F16)
    small = case.inputs()
    storage = torch.empty(2 * step + 3 * 37 * 8, dtype=F16, device=DEVICE)
    large = {name: on_device(value) for name, value in small.items()}
    for place, name in enumerate(("q", "k", "v")):
        large[name] = storage.as_strided(small[name].shape, (step, 8, 8, 1), place * 37 * 8).copy_(small[name])
    assert_accepted(OPS[mode](**large, impl="triton").cpu(), mode, small)


@pytest.mark.parametrize("impl", ["triton", "sdpa", "auto"])
@pytest.mark.parametrize("mode", OPS)
def test_the_host_waits_for_nothing(mode: str, impl: str) -> None:
    case = Case(mode=mode, head_dim=64, dtype=BF16)
    arguments = {name: on_device(value) for name, value in case.inputs().items()}
    torch.use_deterministic_algorithms(False)
    first = OPS[mode](**arguments, impl=impl)
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = OPS[mode](**arguments, impl=impl)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(again, first)


@pytest.mark.parametrize("mode", OPS)
def test_replayed_from_a_cuda_graph(mode: str) -> None:
    case = Case(mode=mode, head_dim=64, dtype=BF16)
    arguments = {name: on_device(value) for name, value in case.inputs().items()}
    torch.use_deterministic_algorithms(False)
    expected = OPS[mode](**arguments, impl="triton")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = OPS[mode](**arguments, impl="triton")
    out.fill_(torch.nan)
    graph.replay()
    assert torch.equal(out, expected)


@pytest.mark.parametrize("mode", OPS)
def test_compiles_whole(mode: str) -> None:
    case = Case(mode=mode, head_dim=64, dtype=BF16)
    arguments = {name: on_device(value) for name, value in case.inputs().items()}
    compiled = torch.compile(lambda: OPS[mode](**arguments, impl="triton") * 1, fullgraph=True)
    assert_accepted(compiled().cpu(), mode, case.inputs())


@pytest.mark.parametrize("mode", OPS)
def test_auto_says_what_it_follows(mode: str) -> None:
    """What was measured on this GPU, if there is a file for it; the stock recipe if not."""
    case = Case(mode=mode, head_dim=64, dtype=BF16, query_length=1024, key_length=1024)
    arguments = {name: on_device(value) for name, value in case.inputs().items()}
    found = explain(**arguments, mode=mode)
    entries = files.load(torch.cuda.get_device_name(DEVICE), files.own_directory())
    assert "the faster one on" in found.reason if entries else found.implementation == "sdpa"
    assert found.unsupported_reasons["triton"] == ()
    assert found.log_sum_exp_op in ("cudnn", "flash", "efficient")
    assert_accepted(OPS[mode](**arguments).cpu(), mode, case.inputs())

"""What the stock recipe promises beyond the contract: no work, copy, memory or wait that it does not need."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from aid_kernels import InterpolationPlan, inner_attention, outer_attention
from aid_kernels.interpolated_attention.impl import log_sum_exp_ops, sdpa
from benchmarks.common.memory import peak_extra_bytes
from tests.testing import OPS, Case, assert_accepted, covering_cases

IMPLEMENTATIONS = {"outer": sdpa.outer_attention, "inner": sdpa.inner_attention}
SEVEN = InterpolationPlan.sequence([0, 0.1, 0.3, 0.5, 0.7, 0.9, 1])


class Work(TorchDispatchMode):
    """Counts calls by name, and the products of queries and keys that attention ops are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.calls[name] += 1
        if name == "_scaled_dot_product_flash_attention_for_cpu":
            query, key = args[:2]
            self.products += query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
        return func(*args, **(kwargs or {}))


def work_of(mode: str, plan: InterpolationPlan, fuse_self: bool, heads: int = 2, length: int = 16) -> Work:
    # transposed views, what diffusers passes
    query, key, value = (torch.randn(len(plan), length, heads, 8).transpose(1, 2) for _ in range(3))
    options: dict[str, Any] = dict(bank=(key, value), key_mask=None, bank_mask=None, scale=0.3)
    with Work() as work:
        IMPLEMENTATIONS[mode](query, key, value, plan, fuse_self=fuse_self, **options)
    work.products //= heads * length * length  # in units: one row's plain attention
    return work


@pytest.mark.parametrize(
    ("plan", "outer_fused", "outer", "inner_fused", "inner"),
    [
        (InterpolationPlan.plain(3), 3, 3, 3, 3),
        (SEVEN, 2 + 5 * 3, 2 + 5 * 2, 2 + 5 * 2, 2 + 5),
        (SEVEN.off(), 7, 7, 7, 7),
        # coefficients of 0 and 1 in between leave one source each
        (InterpolationPlan.sequence([0, 0, 0.5, 1, 1]), 2 + 2 + 3 + 2, 2 + 1 + 2 + 1, 2 + 3 * 2, 2 + 3),
        (
            InterpolationPlan.barycentric([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.25, 0.25], [0, 0.5, 0.5]]),
            10,
            8,
            7,
            5,
        ),
        (InterpolationPlan.concat([InterpolationPlan.plain(7), SEVEN]), 7 + 17, 7 + 12, 7 + 12, 7 + 7),
    ],
    ids=["plain", "sequence", "off", "zero and one", "three sources", "guidance"],
)
def test_units_of_work(plan: InterpolationPlan, outer_fused: int, outer: int, inner_fused: int, inner: int) -> None:
    expected = {
        ("outer", True): outer_fused,
        ("outer", False): outer,
        ("inner", True): inner_fused,
        ("inner", False): inner,
    }
    assert {call: work_of(call[0], plan, call[1]).products for call in expected} == expected


def test_sources_are_neither_joined_nor_expanded_nor_folded_by_copying() -> None:
    work = work_of("outer", SEVEN, True)
    assert (
        work.calls["_scaled_dot_product_flash_attention_for_cpu"] == 3
    )  # all rows' own keys, then one long query a source
    assert not {"cat", "stack", "expand", "repeat", "clone", "index", "index_select"} & work.calls.keys()


@pytest.mark.parametrize("mode", OPS)
def test_peak_memory(mode: str) -> None:
    """Under 1.5 times the output, which counts, plus the partial results of one segment."""
    query, key, value = (torch.randn(7, 8, 640, 64) for _ in range(3))
    out = OPS[mode](query, key, value, SEVEN, impl="sdpa")
    segment = 5 * 8 * 640 * (64 + 1) * 4
    peak = peak_extra_bytes(lambda: OPS[mode](query, key, value, SEVEN, impl="sdpa"))
    assert out.nbytes <= peak < 1.5 * out.nbytes + segment


@pytest.mark.parametrize("name", ["cudnn", "flash", "efficient", "math"])
@pytest.mark.parametrize("fuse_self", [True, False])
@pytest.mark.parametrize("mode", OPS)
def test_nothing_waits_for_a_gpu(mode: str, fuse_self: bool, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meta tensors have no values: reading one raises."""
    monkeypatch.setattr(log_sum_exp_ops, "log_sum_exp_op", lambda *_: name)
    on_cpu = InterpolationPlan.concat([InterpolationPlan.plain(2), SEVEN])
    parts = (part.to("meta") for part in (on_cpu.sources, on_cpu.weights, on_cpu.schedule))
    plan = InterpolationPlan.trusted(*parts, on_cpu.host_sources, on_cpu.host_weights, on_cpu.bank_size)
    query, key, value = (
        torch.empty(9, 37, 4, 40, dtype=torch.float16, device="meta").transpose(1, 2) for _ in range(3)
    )
    masks = [torch.empty(9, 37, dtype=torch.bool, device="meta") if name in ("efficient", "math") else None] * 2
    options: dict[str, Any] = dict(
        fuse_self=fuse_self, bank=(key, value), key_mask=masks[0], bank_mask=masks[1], scale=0.1
    )
    out = IMPLEMENTATIONS[mode](query, key, value, plan, **options)
    assert out.shape == query.shape
    assert out.stride() == query.stride()


@pytest.mark.parametrize("case", covering_cases()[::3], ids=str)
def test_accepted_through_the_fallback_op(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_sum_exp_ops, "log_sum_exp_op", lambda *_: "math")
    arguments = case.inputs()
    assert_accepted(OPS[case.mode](**arguments, impl="sdpa"), case.mode, arguments)


@pytest.mark.parametrize("case", covering_cases()[1::3], ids=str)
def test_accepted_head_by_head(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdpa, "MIN_LOGITS", {"cpu": 1})
    arguments = case.inputs()
    query = arguments["q"]
    assert len(sdpa._pieces(query, keys=5)) == (3 if query.numel() else 0)
    assert_accepted(OPS[case.mode](**arguments, impl="sdpa"), case.mode, arguments)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("mode", OPS)
def test_accepted_where_one_segment_drowns_the_other(mode: str, dtype: torch.dtype) -> None:
    """Logits hundreds apart, so that shares round to 0 and 1."""
    arguments = Case(mode=mode, dtype=dtype).inputs()
    for factor in (30.0, 0.01):
        arguments["bank"] = (factor * arguments["k"], arguments["v"])
        assert_accepted(OPS[mode](**arguments, impl="sdpa"), mode, arguments)


@pytest.mark.parametrize("mode", OPS)
def test_nan_stays_in_the_rows_that_read_it(mode: str) -> None:
    query, key, value = (torch.randn(7, 2, 9, 8) for _ in range(3))
    bank = key.clone(), value.clone()
    bank[0][6, 0, 0] = torch.nan  # source 6, head 0: read by the rows in between
    out = OPS[mode](query, key, value, SEVEN, bank=bank, impl="sdpa")
    nan_rows = out.isnan().all(dim=(2, 3))
    assert nan_rows[1:6, 0].all()
    assert out[[0, 6]].isfinite().all()
    assert out[:, 1].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("op", [outer_attention, inner_attention])
def test_a_row_alone_is_accepted_too(op: Any, dtype: torch.dtype) -> None:
    """Stock ops promise the tolerance, not the bits; benchmarks/results/cpu says how far apart they are."""
    query, key, value = (torch.randn(7, 3, 37, 40).to(dtype) for _ in range(3))
    for row in range(7):
        own = slice(row, row + 1)
        arguments = dict(q=query[own], k=key[own], v=value[own], plan=SEVEN.select(own), bank=(key, value))
        arguments |= dict(fuse_self=True, scale=None)
        mode = "outer" if op is outer_attention else "inner"
        together = op(query, key, value, SEVEN, impl="sdpa")[own]
        assert_accepted(op(**arguments, impl="sdpa"), mode, arguments)
        assert_accepted(together, mode, arguments)


@given(st.sets(st.integers(0, 30)).map(sorted))
def test_slices_hold_exactly_the_rows(rows: list[int]) -> None:
    slices = sdpa._slices(rows)
    assert [row for part in slices for row in range(31)[part]] == rows


def test_slices_are_few() -> None:
    assert sdpa._slices([1, 2, 3, 4, 5]) == [slice(1, 6, 1)]
    assert sdpa._slices([0, 6]) == [slice(0, 7, 6)]
    assert sdpa._slices([0, 2, 4, 5]) == [slice(0, 5, 2), slice(5, 6, 1)]


def test_pieces_are_even_and_none_is_lost() -> None:
    query = torch.empty(7, 20, 1024, 8, device="meta")
    assert sdpa._pieces(query, keys=1) == [slice(0, 20)]  # too little work to split
    whole = torch.empty(7, 20, 4096, 8)
    assert sdpa._pieces(whole, keys=8192) == [slice(start, start + 3) for start in range(0, 20, 3)]


def test_folding_a_transposed_view_copies_nothing() -> None:
    query: Tensor = torch.randn(7, 11, 4, 8).transpose(1, 2)
    folded = sdpa._fold(query[1:6])
    assert folded.shape == (1, 4, 55, 8)
    assert folded.data_ptr() == query[1:6].data_ptr()
    torch.testing.assert_close(sdpa._unfold(folded, 11), query[1:6], rtol=0, atol=0)

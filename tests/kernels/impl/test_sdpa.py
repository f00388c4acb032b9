"""What the stock recipe promises beyond the contract: no work, copy, memory or wait that it does not need."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from aid_kernels import InterpolationPlan, inner_attention, outer_attention
from aid_kernels.interpolated_attention.impl import log_sum_exp_ops, sdpa
from benchmarks.common.memory import peak_extra_bytes
from tests.testing import OPS, Case, assert_accepted, bundled, covering_cases

ATTENTION = {"outer": sdpa.outer_attention, "inner": sdpa.inner_attention}
SEVEN = InterpolationPlan.sequence([0, 0.1, 0.3, 0.5, 0.7, 0.9, 1])


class WorkCounter(TorchDispatchMode):
    """Counts calls by name, and the products of queries and keys that attention ops are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.products = 0
        self.heads: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.calls[name] += 1
        if name == "_scaled_dot_product_flash_attention_for_cpu":
            query, key = args[:2]
            self.heads.append(query.shape[1])
            self.products += query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
        return func(*args, **(kwargs or {}))


def work_of(mode: str, plan: InterpolationPlan, fuse_self: bool, heads: int = 2, length: int = 16) -> WorkCounter:
    # transposed views, what diffusers passes
    query, key, value = (torch.randn(len(plan), length, heads, 8).transpose(1, 2) for _ in range(3))
    inputs = bundled(dict(q=query, k=key, v=value, plan=plan, fuse_self=fuse_self, scale=0.3))
    with WorkCounter() as work:
        ATTENTION[mode](inputs)
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
    plan = InterpolationPlan.concat([InterpolationPlan.plain(2), SEVEN]).to("meta")
    query, key, value = (
        torch.empty(9, 37, 4, 40, dtype=torch.float16, device="meta").transpose(1, 2) for _ in range(3)
    )
    mask = torch.empty(9, 37, dtype=torch.bool, device="meta") if name in ("efficient", "math") else None
    arguments = dict(q=query, k=key, v=value, plan=plan, fuse_self=fuse_self, key_mask=mask, bank_mask=mask)
    out = ATTENTION[mode](bundled(arguments))
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


def test_heads_are_attended_to_a_few_at_a_time_where_that_is_enough_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20 heads 3 at a time, so that partial results stay small; every segment's heads once, all of them."""
    segments = 3
    assert work_of("outer", SEVEN, True, heads=20).heads == [20] * segments
    monkeypatch.setattr(sdpa, "MIN_LOGITS", {"cpu": 1})
    pieces = [3, 3, 3, 3, 3, 3, 2]
    assert work_of("outer", SEVEN, True, heads=20).heads == [count for count in pieces for _ in range(segments)]


def test_rows_in_even_steps_are_one_call() -> None:
    """Every second row of two interleaved sequences: still a call for the own keys, and one a source."""
    terms = [[(0, 0.0)], [(1, 0.0)], [(0, 1.0)], [(1, 1.0)], [(0, 1.0)], [(1, 1.0)]]
    sources, weights = (torch.tensor([[term[part] for term in row] for row in terms]) for part in (0, 1))
    assert len(work_of("outer", InterpolationPlan(sources, weights), True).heads) == 3

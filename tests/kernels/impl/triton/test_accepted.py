"""The kernels against the oracle: every shape, dtype, layout, mask, bank and launch that the contract allows."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from aid_kernels.interpolated_attention.tuning.tile_sizes import LaunchConfig
from tests.kernels.test_contract import cases as contract_cases
from tests.testing import OPS, Case, assert_accepted, bundled, run_triton

pytestmark = [pytest.mark.usefixtures("interpreted"), pytest.mark.filterwarnings("ignore::RuntimeWarning")]

F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32


def covering_cases() -> list[Case]:
    """Every head size, dtype, layout, number of sources, mask, bank and edge of the contract, several at a time."""
    base = Case()
    inner = base.but(mode="inner")
    ends = {"sources": ((0, 4),) * 5, "weights": ((0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (0.0, 0.0))}
    three = {"sources": ((0, 1, 3),) * 4, "weights": ((0.0,) * 3, (0.2, 0.3, 0.5), (0.0, 0.6, 0.4), (0.0,) * 3)}
    one = {"sources": ((1,), (0,)), "weights": ((1.0,), (0.0,))}
    none = {"sources": ((), ()), "weights": ((), ())}
    dims, dtypes = (8, 40, 64, 80, 96, 128, 160, 256), itertools.cycle((F32, BF16, F16))
    layouts = itertools.cycle(("dense", "transposed", "fused", "expanded"))
    cases = [base.but(head_dim=dim, dtype=next(dtypes), layout=next(layouts)) for dim in dims]
    cases += [inner.but(head_dim=dim, dtype=next(dtypes), layout=next(layouts)) for dim in (8, 64, 80, 160, 256)]
    cases += [case.but(fuse_self=False, key_length=77, dtype=F16) for case in (base, inner)]
    cases += [case.but(**plan) for plan in (ends, three, one, none) for case in (base, inner.but(dtype=BF16))]
    cases += [case.but(masks=masks) for masks in ("some", "blind") for case in (base, inner)]
    cases += [
        base.but(masks="blind", fuse_self=False, **ends),
        base.but(masks="blind", dtype=F16, head_dim=160, **three),
        base.but(key_length=77, bank=(3, 77), layout="transposed", masks="some", dtype=BF16),
        base.but(bank=(4, 21), sources=((0, 3),) * 3, head_dim=80, masks="blind"),
        base.but(query_length=65, key_length=129, scale=0.3, heads=1, dtype=BF16),
        inner.but(query_length=1, key_length=1, bank=(3, 150), fuse_self=False),
        inner.but(key_length=150, masks="blind", head_dim=136, **three),
        inner.but(key_length=20, bank=(5, 131), sources=((0, 4),) * 3, layout="fused", dtype=BF16),
        base.but(scale=-0.2, dtype=F16),
        inner.but(scale=0.0),
        base.but(key_length=0),
        base.but(key_length=0, bank=(3, 5)),
        base.but(bank=(3, 0), fuse_self=False),
        inner.but(bank=(3, 0)),
    ]
    return cases


def marked(cases: list[Case]) -> list[object]:
    """Wide heads and more than two sources take the interpreter longest: two thirds of the time of all."""
    slow = [case.head_dim > 128 or len(case.weights[0]) > 2 for case in cases]
    marks = [[pytest.mark.slow] if long else [] for long in slow]
    return [pytest.param(case, id=str(case), marks=mark) for case, mark in zip(cases, marks, strict=True)]


@pytest.mark.parametrize("case", marked(covering_cases()))
def test_kernel_is_accepted(case: Case) -> None:
    assert_accepted(run_triton(case), case.mode, case.inputs())


@pytest.mark.slow
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=contract_cases())
def test_kernel_accepts_whatever_the_contract_allows(case: Case) -> None:
    assert_accepted(run_triton(case), case.mode, case.inputs())


@pytest.mark.parametrize(("dim", "slices", "pad"), [(40, 4, False), (136, 4, True), (160, 2, False)])
def test_value_columns_may_be_split_over_any_number_of_programs(dim: int, slices: int, pad: bool) -> None:
    from aid_kernels.interpolated_attention.impl.triton.forward import attend

    case = Case(head_dim=dim, heads=2, dtype=F16, query_length=17)
    arguments = case.inputs()
    config = LaunchConfig(16, 16, 1, 1, slices=slices, pad=pad)
    out = attend("outer", bundled(arguments), config)
    assert_accepted(out, "outer", arguments)


@pytest.mark.parametrize("mode", OPS)
@pytest.mark.parametrize("length", [5, 33, 64, 77, 128, 129, 150, 192])
def test_segments_end_anywhere_in_a_block(mode: str, length: int) -> None:
    """Short ones in one loop that checks their end, long ones in whole blocks and tails; own and bank's may differ."""
    case = Case(mode=mode, key_length=length, heads=1, dtype=F16)
    assert_accepted(run_triton(case), mode, case.inputs())
    case = case.but(bank=(3, 45))
    assert_accepted(run_triton(case), mode, case.inputs())


def test_tails_of_any_width_and_registers_of_any_number_give_the_same_attention() -> None:
    from aid_kernels.interpolated_attention.impl.triton.forward import attend

    case = Case(head_dim=40, heads=1, dtype=F16, query_length=17, key_length=205)
    arguments = case.inputs()
    few, capped = (
        attend("outer", bundled(arguments), LaunchConfig(16, 64, 1, 1, registers=count)) for count in (0, 128)
    )
    assert_accepted(few, "outer", arguments)
    assert torch.equal(few, capped)


def test_rule_rejects_a_swapped_source_and_a_missing_term() -> None:
    case = Case()
    for wrong in (((2, 0),) * 3, ((0, 0),) * 3):
        with pytest.raises(AssertionError, match="max error"):
            assert_accepted(run_triton(case.but(sources=wrong)), case.mode, case.inputs())


@pytest.mark.parametrize("changes", [{"query_length": 0}, {"weights": (), "sources": ()}], ids=str)
@pytest.mark.parametrize("mode", OPS)
def test_nothing_is_launched_for_an_empty_output(
    mode: str, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aid_kernels.interpolated_attention.impl.triton.launch import Launch

    monkeypatch.delattr(Launch, "run")
    case = Case(mode=mode).but(**changes)
    assert run_triton(case).shape == case.inputs()["q"].shape

"""Implementations against the float64 oracle, the oracle against stock PyTorch, and proof that the rule can fail."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.testing import OPS, Case, assert_accepted, covering_cases, oracle, stock, tolerance, widen


@pytest.mark.parametrize("case", covering_cases(), ids=str)
def test_reference_equals_stock_pytorch_in_float64(case: Case) -> None:
    arguments = widen(case.inputs())
    torch.testing.assert_close(oracle(case.mode, arguments), stock(case.mode, arguments), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("impl", ["reference", "sdpa"])
@pytest.mark.parametrize("case", covering_cases(), ids=str)
def test_implementation_is_accepted(case: Case, impl: str) -> None:
    arguments = case.inputs()
    assert_accepted(OPS[case.mode](**arguments, impl=impl), case.mode, arguments)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("mode", OPS)
def test_rule_rejects_zeros_and_a_swapped_source(mode: str, dtype: torch.dtype) -> None:
    case = Case(mode=mode, dtype=dtype)
    arguments = case.inputs()
    right = OPS[mode](**arguments, impl="sdpa")
    assert_accepted(right, mode, arguments)
    swapped = OPS[mode](**arguments | {"plan": case.but(sources=((2, 0),) * 3).plan()}, impl="sdpa")
    for wrong in (torch.zeros_like(right), swapped, right.roll(1, dims=1), torch.full_like(right, torch.nan)):
        with pytest.raises(AssertionError, match="max error"):
            assert_accepted(wrong, mode, arguments)


def test_rule_is_tight() -> None:
    """The accepted error is of the size of one rounding, not of the values."""
    for dtype, bound in ((torch.float32, 1e-5), (torch.bfloat16, 0.1), (torch.float16, 0.02)):
        case = Case(dtype=dtype)
        assert tolerance("outer", case.inputs()) < bound * oracle("outer", case.inputs()).abs().max()


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rows, width = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    entries = draw(st.integers(1, 4))
    bank = (entries, draw(st.integers(0, 40))) if draw(st.booleans()) else None
    share = st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0, 5.0]), min_size=width, max_size=width)
    raw = [draw(share) for _ in range(rows)]
    weights = tuple(tuple(part / sum(row) if sum(row) else 0.0 for part in row) for row in raw)
    index = st.integers(0, (entries if bank else rows) - 1)
    sources = tuple(tuple(draw(index) for _ in range(width)) for _ in range(rows))
    length = draw(st.integers(0, 70))
    return Case(
        mode=draw(st.sampled_from(sorted(OPS))),
        fuse_self=draw(st.booleans()),
        weights=weights,
        sources=sources,
        heads=draw(st.integers(1, 3)),
        query_length=draw(st.integers(1, 70)),
        key_length=length,
        bank=bank,
        head_dim=8 * draw(st.integers(1, 32)),
        dtype=draw(st.sampled_from([torch.float16, torch.bfloat16, torch.float32])),
        layout=draw(st.sampled_from(["dense", "transposed", "fused", "expanded"])),
        masks=draw(st.sampled_from(["none", "some", "blind"])),
        seed=draw(st.integers(0, 99)),
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
def test_sdpa_accepts_whatever_the_contract_allows(case: Case) -> None:
    arguments = case.inputs()
    assert_accepted(OPS[case.mode](**arguments, impl="sdpa"), case.mode, arguments)


@pytest.mark.parametrize("impl", ["reference", "sdpa"])
def test_non_finite_inputs_pass_through(impl: str) -> None:
    arguments = Case(weights=((0.0, 0.0), (0.5, 0.5), (0.0, 0.0)), heads=2).inputs()
    arguments["v"] = arguments["v"].clone()
    arguments["v"][1, 0, 2, 3] = float("inf")
    arguments["k"] = arguments["k"].clone()
    arguments["k"][1, 1, 0, 0] = float("nan")
    out = OPS["outer"](**arguments, impl=impl)
    assert out[1, 0, :, 3].isinf().all()
    assert out[1, 1].isnan().all()
    assert out[0].isfinite().all()

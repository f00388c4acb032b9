"""Results of the kernels that no bit of may change: batch invariance, weights of zero, offsets, place of mixing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from aid_kernels import InterpolationPlan
from tests.testing import OPS, Case, assert_accepted, bundled, run_triton

pytestmark = [pytest.mark.usefixtures("interpreted"), pytest.mark.filterwarnings("ignore::RuntimeWarning")]

F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32


@pytest.mark.parametrize(
    "case",
    [
        Case(dtype=BF16, masks="some", heads=1),
        Case(head_dim=160, fuse_self=False, heads=1),
        Case(mode="inner", key_length=150, dtype=F16, heads=1),
        Case(mode="inner", masks="some", heads=1),
    ],
    ids=str,
)
def test_batch_invariance(case: Case) -> None:
    """Bit for bit: alone, in another order, beside rows with more sources, and with slots of weight zero."""
    case = case.but(
        sources=((0, 2), (0, 2), (0, 2), (2, 1)), weights=((0.0, 0.0), (0.7, 0.3), (0.0, 0.0), (0.5, 0.5)), seed=3
    )
    arguments = case.inputs()
    plan, bank = arguments["plan"], (arguments["k"], arguments["v"])
    whole = OPS[case.mode](**arguments, impl="triton")

    def some(rows: list[int], chosen: InterpolationPlan) -> Tensor:
        parts = {name: arguments[name][rows] for name in ("q", "k", "v")}
        mask = {"key_mask": arguments["key_mask"][rows]} if case.masks != "none" else {}
        return OPS[case.mode](**arguments | parts | mask | {"plan": chosen, "bank": bank}, impl="triton")

    for rows in ([1], [3, 2, 1, 0], [2, 3]):
        assert torch.equal(some(rows, plan.select(rows)), whole[rows])
    # beside a row of three sources: all others get a slot of weight zero, and the loop over slots is a run-time one
    sources, weights = torch.nn.functional.pad(plan.sources, (0, 1)), torch.nn.functional.pad(plan.weights, (0, 1))
    sources, weights = torch.cat([sources, torch.tensor([[0, 1, 2]])]), torch.cat([weights, torch.full((1, 3), 1 / 3)])
    rows = [0, 1, 2, 3, 0]
    assert torch.equal(some(rows, InterpolationPlan(sources.int(), weights))[:4], whole)


def test_inner_gives_the_same_bits_whether_keys_are_mixed_before_the_kernel_or_in_it() -> None:
    from aid_kernels.interpolated_attention.impl.triton.forward import attend

    inputs = bundled(Case(mode="inner", masks="some", dtype=BF16, key_length=77, heads=2).inputs())
    before, fused, usual = (attend("inner", inputs, mix=mix) for mix in ("before", "fused", None))
    assert torch.equal(before, fused)
    assert torch.equal(usual, fused)


def test_what_a_source_of_weight_zero_holds_does_not_matter() -> None:
    for mode, length in (("outer", 37), ("inner", 37), ("inner", 150)):
        case = Case(mode=mode, heads=1, bank=(3, length), weights=((0.0, 0.0), (0.0, 1.0), (0.0, 0.0)))
        clean, arguments = run_triton(case), case.inputs()
        for part in arguments["bank"]:
            part[0] = torch.nan
        assert torch.equal(OPS[mode](**arguments, impl="triton"), clean)


def test_non_finite_inputs_pass_through_as_attention_does() -> None:
    case = Case(dtype=F32)
    arguments = case.inputs()
    arguments["q"][1, 0, 5] = torch.nan
    arguments["v"][0, 1, 3, 7] = torch.inf
    arguments["k"][2, 2] = -torch.inf
    out, exact = (OPS["outer"](**arguments, impl=impl) for impl in ("triton", "reference"))
    assert torch.equal(out.isnan(), exact.isnan())
    assert torch.equal(out.isinf(), exact.isinf())
    assert out.isnan().any()
    assert out.isinf().any()


def test_forced_int64_offsets_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from aid_kernels.interpolated_attention.impl.triton import launch as triton_launch

    cases = [Case(layout="fused", heads=1), Case(mode="inner", key_length=150, layout="transposed", heads=1)]
    usual = [run_triton(case) for case in cases]
    asked = []
    monkeypatch.setattr(triton_launch, "needs_int64", lambda *arguments: asked.append(arguments) or True)
    assert all(torch.equal(run_triton(case), out) for case, out in zip(cases, usual, strict=True))
    assert len(asked) == 3  # two of attention, one of mixing


@pytest.mark.parametrize("mode", OPS)
def test_views_beyond_two_to_the_31_elements(mode: str, tmp_path: Path) -> None:
    """Positions 2^26 elements apart: offsets within a row and within a tile pass 2^31. A sparse file takes no space."""
    case = Case(mode=mode, heads=1, head_dim=8, dtype=F16, query_length=40, key_length=40)
    arguments = case.inputs()
    step = 2**26
    storage = torch.from_file(str(tmp_path / "sparse"), shared=True, size=40 * step, dtype=F16)
    for place, name in enumerate(("q", "k", "v")):
        small = arguments[name]
        large = storage.as_strided(small.shape, (8, 8, step, 1), place * 24)
        arguments[name] = large.copy_(small)
    assert_accepted(OPS[mode](**arguments, impl="triton"), mode, case.inputs())

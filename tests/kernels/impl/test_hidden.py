"""What a mask hides does not matter, NaN and inf included: results and gradients are those of clean padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.testing import OPS, Case, assert_accepted

IMPLEMENTATIONS = ["sdpa", "triton", "reference"]
GARBAGE = {"nan": torch.nan, "inf": torch.inf, "-inf": -torch.inf}
# row 1 mixes 0 and 2; masks differ between a row as itself and as a source
CASES = [
    Case(),
    Case(fuse_self=False, heads=1),
    Case(mode="inner"),
    Case(mode="inner", fuse_self=False, dtype=torch.bfloat16, heads=1),
    Case(mode="inner", bank=(3, 150), head_dim=80, heads=1),
    Case(bank=(4, 21), head_dim=160, dtype=torch.float16, heads=1, layout="transposed"),
    Case(sources=((0, 1, 3),) * 4, weights=((0.0,) * 3, (0.2, 0.3, 0.5), (0.0, 0.6, 0.4), (0.0,) * 3), heads=1, seed=5),
]


def masked(case: Case) -> dict[str, object]:
    return case.but(masks="some").inputs()


def spoilt(arguments: dict[str, object], garbage: float, keys: bool = True, values: bool = True) -> dict[str, object]:
    """The call with `garbage` wherever no reader looks."""
    changed = dict(arguments)
    key_mask, bank_mask = arguments["key_mask"], arguments["bank_mask"]
    if "bank" in arguments:
        hidden = (("k", ~key_mask, keys), ("v", ~key_mask, values))
        changed["bank"] = tuple(
            part.masked_fill(~bank_mask[:, None, :, None], garbage) if asked else part
            for part, asked in zip(arguments["bank"], (keys, values), strict=True)
        )
    else:
        hidden = (("k", ~(key_mask | bank_mask), keys), ("v", ~(key_mask | bank_mask), values))
    for name, where, asked in hidden:
        if asked:
            changed[name] = arguments[name].masked_fill(where[:, None, :, None], garbage)
    return changed


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_hidden_keys_and_values_do_not_matter(case: Case, impl: str) -> None:
    arguments = masked(case)
    # a mixed key is the sum of all its sources, of which what is hidden and not finite counts as zero
    zeros = spoilt(arguments, 0.0)
    clean = OPS[case.mode](**zeros, impl=impl)
    assert_accepted(clean, case.mode, zeros)
    for name, garbage in GARBAGE.items():
        assert torch.equal(OPS[case.mode](**spoilt(arguments, garbage), impl=impl), clean), name
    if case.mode == "outer":
        assert torch.equal(OPS[case.mode](**arguments, impl=impl), clean)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_the_tail_of_values_that_nobody_sees(impl: str) -> None:
    torch.manual_seed(0)
    arguments = Case().inputs()
    mask = torch.ones(3, 37, dtype=torch.bool)
    mask[:, 4:] = False
    arguments |= dict(key_mask=mask, bank_mask=mask)
    clean = OPS["outer"](**arguments, impl=impl)
    arguments["v"][:, :, 4:] = torch.nan
    assert torch.equal(OPS["outer"](**arguments, impl=impl), clean)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("mode", OPS)
def test_only_a_reader_that_sees_it_is_touched(mode: str, impl: str) -> None:
    """Position 3 of row 0 is NaN: hidden from row 0 itself but visible to row 1 as a source, then the reverse."""
    arguments = Case(mode=mode).inputs()
    own, source = (torch.ones(3, 37, dtype=torch.bool) for _ in range(2))
    arguments |= dict(key_mask=own, bank_mask=source)
    arguments["k"][0, :, 3], arguments["v"][0, :, 3] = torch.nan, torch.nan

    def touched() -> list[bool]:
        return OPS[mode](**arguments, impl=impl).isnan().flatten(1).any(dim=1).tolist()

    assert touched() == [True, True, False]
    own[0, 3] = False
    assert touched() == [False, True, False]
    own[0, 3], source[0, 3] = True, False
    assert touched() == [True, False, False]
    own[0, 3] = False
    assert touched() == [False, False, False]


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("length", [37, 150])
def test_a_mixed_key_hidden_at_one_source_and_visible_at_another(length: int, impl: str) -> None:
    """It is visible; the garbage at the source that hides it is not."""
    arguments = Case(mode="inner", bank=(3, length), heads=1).inputs()
    mask = torch.ones(3, length, dtype=torch.bool)
    mask[0, 5:9] = False
    bank = [part.clone() for part in arguments["bank"]]
    for part in bank:
        part[0, :, 5:9] = torch.nan
    clean = [part.nan_to_num(0.0) for part in bank]
    expected = arguments | dict(bank=tuple(clean), bank_mask=mask)
    out = OPS["inner"](**arguments | dict(bank=tuple(bank), bank_mask=mask), impl=impl)
    assert_accepted(out, "inner", expected)
    # what is hidden but finite is mixed as before
    finite = arguments | dict(bank_mask=mask)
    assert_accepted(OPS["inner"](**finite, impl=impl), "inner", finite)


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_do_not_read_what_is_hidden(case: Case, garbage: str) -> None:
    def gradients(arguments: dict[str, object]) -> list[Tensor]:
        names = ["q", "k", "v"]
        variables = [arguments[name].clone().requires_grad_() for name in names]
        bank = [part.clone().requires_grad_() for part in arguments.get("bank", ())]
        changed = arguments | dict(zip(names, variables, strict=True))
        if bank:
            changed["bank"] = tuple(bank)
        return list(torch.autograd.grad(OPS[case.mode](**changed).square().sum(), variables + bank))

    arguments = masked(case)
    clean, dirty = gradients(spoilt(arguments, 0.0)), gradients(spoilt(arguments, GARBAGE[garbage]))
    q, *others = zip(clean, dirty, strict=True)
    assert torch.equal(*q)
    if case.mode == "outer":
        assert all(torch.equal(*pair) for pair in others)
    assert all(part.isfinite().all() for part in dirty)


@pytest.mark.parametrize("mode", OPS)
def test_the_fallback_op_does_not_read_what_is_hidden(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from aid_kernels.interpolated_attention.impl import log_sum_exp_ops

    monkeypatch.setattr(log_sum_exp_ops, "log_sum_exp_op", lambda *_: "math")
    arguments = masked(Case(mode=mode, bank=(3, 21)))
    clean = OPS[mode](**spoilt(arguments, 0.0), impl="sdpa")
    assert torch.equal(OPS[mode](**spoilt(arguments, torch.nan), impl="sdpa"), clean)

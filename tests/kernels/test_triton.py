"""The Triton kernels, interpreted on CPU tensors, against the oracle; and what they promise beyond the tolerance."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor

from aid_kernels import InterpolationPlan
from aid_kernels.interpolated_attention.impl.triton import support as triton_support
from aid_kernels.interpolated_attention.tuning import static as triton_configs
from tests.kernels.test_contract import cases as contract_cases
from tests.testing import OPS, Case, assert_accepted

pytestmark = pytest.mark.skipif(
    not triton_support.interpreting(), reason="needs TRITON_INTERPRET=1, which GPUs exclude"
)

F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32


@pytest.fixture(autouse=True)
def poison() -> Iterator[None]:
    """Fresh memory holds NaN, so that an element nobody wrote shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def quick_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton patches its language at every call of a device function, half of a test's time; once is enough."""
    from triton.runtime.interpreter import InterpretedFunction

    patch_and_call, patched = InterpretedFunction.__call__, set()

    def call(function: InterpretedFunction, *arguments: object, **keywords: object) -> object:
        if function in patched:
            return function.rewrite()(*arguments, **keywords)
        patched.add(function)
        return patch_and_call(function, *arguments, **keywords)

    monkeypatch.setattr(InterpretedFunction, "__call__", call)


def run(case: Case, **changes: object) -> Tensor:
    return OPS[case.mode](**case.inputs() | changes, impl="triton")


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


@pytest.mark.parametrize("case", covering_cases(), ids=str)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy speaks up where a GPU gives inf without a word
def test_kernel_is_accepted(case: Case) -> None:
    assert_accepted(run(case), case.mode, case.inputs())


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=contract_cases())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_kernel_accepts_whatever_the_contract_allows(case: Case) -> None:
    assert_accepted(run(case), case.mode, case.inputs())


@pytest.mark.parametrize(("dim", "slices", "pad"), [(40, 4, False), (136, 4, True), (160, 2, False)])
def test_value_columns_may_be_split_over_any_number_of_programs(dim: int, slices: int, pad: bool) -> None:
    from aid_kernels.interpolated_attention.impl.triton.forward import attend

    case = Case(head_dim=dim, heads=2, dtype=F16, query_length=17)
    arguments = case.inputs()
    query, key, value, plan = (arguments[name] for name in ("q", "k", "v", "plan"))
    setting = triton_configs.Setting(16, 16, 1, 1, slices=slices, pad=pad)
    out = attend("outer", (query, key, value, None), (key, value, None), plan, True, dim**-0.5, setting)
    assert_accepted(out, "outer", arguments)


def test_rule_rejects_a_swapped_source_and_a_missing_term() -> None:
    case = Case()
    for wrong in (((2, 0),) * 3, ((0, 0),) * 3):
        with pytest.raises(AssertionError, match="max error"):
            assert_accepted(run(case.but(sources=wrong)), case.mode, case.inputs())


@pytest.mark.parametrize("changes", [{"query_length": 0}, {"weights": (), "sources": ()}], ids=str)
@pytest.mark.parametrize("mode", OPS)
def test_nothing_is_launched_for_an_empty_output(
    mode: str, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aid_kernels.interpolated_attention.impl.triton import forward as triton_kernel

    for launch in ("attention_launch", "lerp_launch"):
        monkeypatch.delattr(triton_kernel, launch)
    case = Case(mode=mode).but(**changes)
    assert run(case).shape == case.inputs()["q"].shape


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
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_row_does_not_depend_on_its_company(case: Case) -> None:
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


def test_inner_gives_the_same_bits_whether_keys_are_mixed_before_or_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    from aid_kernels.interpolated_attention.impl.triton import forward as triton_kernel

    case = Case(mode="inner", masks="some", dtype=BF16, key_length=77, heads=2)
    on_the_way = run(case)
    monkeypatch.setattr(triton_kernel, "MIX_ON_THE_WAY", 0)
    assert torch.equal(run(case), on_the_way)


def test_what_a_source_of_weight_zero_holds_does_not_matter() -> None:
    for mode, length in (("outer", 37), ("inner", 37), ("inner", 150)):
        case = Case(mode=mode, heads=1, bank=(3, length), weights=((0.0, 0.0), (0.0, 1.0), (0.0, 0.0)))
        clean, arguments = run(case), case.inputs()
        for part in arguments["bank"]:
            part[0] = torch.nan
        assert torch.equal(OPS[mode](**arguments, impl="triton"), clean)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
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
    usual = [run(case) for case in cases]
    asked = []
    monkeypatch.setattr(triton_launch, "needs_int64", lambda *arguments: asked.append(arguments) or True)
    assert all(torch.equal(run(case), out) for case, out in zip(cases, usual, strict=True))
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


@pytest.mark.parametrize("width", range(8, 257, 8))
def test_tiles_cover_a_head_with_little_padding(width: int) -> None:
    main, rest = triton_configs.split(width)
    for tile in {main, rest} - {0}:
        assert tile >= 16
        assert tile & (tile - 1) == 0
    assert width <= main + rest <= max(16, width * 4 / 3)
    assert max(triton_configs.split(width, widest=128)) <= 128
    assert sum(triton_configs.split(width, widest=128)) == main + rest
    assert (main, rest) == {40: (32, 16), 80: (64, 16), 160: (128, 32), 128: (128, 0)}.get(width, (main, rest))


def test_what_fixes_a_rows_bits_does_not_depend_on_its_company() -> None:
    targets = (*triton_configs.TARGETS, triton_configs.INTERPRETER)
    for target, itemsize, dim, masked in itertools.product(targets, (2, 4), range(8, 257, 8), (False, True)):
        few, many = (
            triton_configs.configure(target, itemsize, dim, many=many, masked=masked).tiles for many in (False, True)
        )
        assert (few.block_n, few.tail, few.key_main) == (many.block_n, many.tail, many.key_main)
        assert few.tail <= few.block_n
        for tiles in (few, many):
            assert tiles.slices * tiles.value_dim >= dim
            assert tiles.value_dim <= tiles.value_main + tiles.value_rest
            # where every slice starts, as the kernel has it: no gap, and the last one ends with the head
            starts = [part * ((dim - tiles.value_dim) // max(1, tiles.slices - 1)) for part in range(tiles.slices)]
            assert starts[-1] + tiles.value_dim == dim
            assert all(start % 8 == 0 for start in starts)
            assert all(after - before <= tiles.value_dim for before, after in itertools.pairwise(starts))


def test_refusals_list_every_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    query = torch.zeros(1, 1, 1, 8, dtype=torch.float64)
    plan = InterpolationPlan.plain(1)

    def reasons() -> str:
        return "\n".join(triton_support.refusals("outer", query, query, plan, (query, query)))

    assert "float64" in reasons()
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert "CPU tensors" in reasons()
    monkeypatch.setattr(triton_support, "_triton_version", lambda: (3, 5))
    assert reasons().count("\n") == 2
    assert "triton 3.5 is too old, 3.6" in reasons()
    monkeypatch.setattr(triton_support, "_triton_version", lambda: None)
    assert "not installed" in reasons()
    with pytest.raises(ValueError, match=r"(?s)float64.*CPU tensors|CPU tensors.*float64"):
        OPS["outer"](query, query, query, plan, impl="triton")


def test_refusals_name_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    for target, known in (("sm_75", False), ("sm_90", True), ("gfx906", False), ("gfx942", True)):
        monkeypatch.setattr(triton_support, "target_of", lambda device, target=target: target)
        found = triton_support._device_refusals(torch.device("cuda", 0))
        assert any(f"no configuration for {target}" in reason for reason in found) is not known
    assert "mps tensors" in triton_support._device_refusals(torch.device("mps"))[0]
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert "unset it" in triton_support._device_refusals(torch.device("cuda", 0))[0]


def test_asking_does_not_import_triton() -> None:
    script = (
        "import sys, torch; from aid_kernels import InterpolationPlan, explain; q = torch.zeros(1, 1, 1, 8); "
        "print(explain(q, q, q, InterpolationPlan.plain(1))); assert 'triton' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert "triton: cannot: CPU tensors" in found.stdout

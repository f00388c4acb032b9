"""Masks with a query axis: every combination against equations (1)-(4) and (16) written out row by row in float64."""

import itertools

import pytest
import torch
from torch.autograd import gradcheck

from aid_kernels import InterpolationPlan, explain, inner_attention, outer_attention
from aid_kernels.interpolated_attention.ops import NAMESPACE

OPS = {"outer": outer_attention, "inner": inner_attention}
HEADS, QUERIES, KEYS, SIZE = 2, 3, 5, 8
PLANS = {
    1: InterpolationPlan(torch.tensor([[1], [1], [0]], dtype=torch.int32), torch.tensor([[0.0], [1.0], [0.0]])),
    2: InterpolationPlan(torch.tensor([[0, 2]] * 3, dtype=torch.int32), torch.tensor([[0.0, 0], [0.7, 0.3], [0, 0]])),
    3: InterpolationPlan(
        torch.tensor([[0, 2, 3]] * 4, dtype=torch.int32),
        torch.tensor([[0.0, 0, 0], [0.2, 0.3, 0.5], [0, 0.6, 0.4], [0, 0, 0]]),
    ),
}
KINDS = ("bool", "additive", "infinite", "keys", "none")


def mask_of(kind, rows, keys, dtype, generator, heads=HEADS, queries=QUERIES):
    """One mask: hidden keys, a bias, a bias with -inf and a query that sees nothing, a mask of keys, or none."""
    if kind == "none":
        return None
    if kind == "keys":
        return torch.rand(rows, keys, generator=generator) < 0.6
    shape = rows, heads, queries, keys
    shown = torch.rand(shape, generator=generator) < 0.6
    shown[:, :, 0] = False  # a query that sees nothing
    shown[..., 2] = False  # a key that nobody sees
    if kind == "bool":
        return shown
    bias = torch.randn(shape, generator=generator).to(dtype)
    return bias if kind == "additive" else bias.masked_fill(~shown, -torch.inf)


def call_of(sources, own, bank, dtype=torch.float64, own_bank=False, seed=0, **shape):
    generator = torch.Generator().manual_seed(seed)
    plan = PLANS[sources]
    rows = len(plan)

    def draw(count, length):
        return torch.randn(count, HEADS, length, SIZE, generator=generator, dtype=torch.float64).to(dtype)

    call = dict(q=draw(rows, QUERIES), k=draw(rows, KEYS), v=draw(rows, KEYS), plan=plan, scale=0.6)
    length, entries = (KEYS, rows) if own_bank else (4, 4)
    if not own_bank:
        call["bank"] = draw(entries, length), draw(entries, length)
    call["key_mask"] = mask_of(own, rows, KEYS, dtype, generator, **shape)
    call["bank_mask"] = mask_of(bank, entries, length, dtype, generator, **shape)
    return call


def biases(mask, rows, keys):
    """A mask of any kind as (rows, H, Sq, keys) float64 logits to add."""
    if mask is None:
        return torch.zeros(rows, HEADS, QUERIES, keys, dtype=torch.float64)
    if mask.ndim == 2:
        mask = mask[:, None, None]
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, -torch.inf)
    return mask.double().expand(rows, HEADS, QUERIES, keys)


def written_out(mode, call, fuse_self):
    """Shares nothing with the package: one query after another, only visible keys enter its softmax."""
    key, value = call["k"].double(), call["v"].double()
    bank_key, bank_value = (part.double() for part in call.get("bank", (call["k"], call["v"])))
    own = biases(call["key_mask"], *key.shape[::2])
    bank = biases(call["bank_mask"], *bank_key.shape[::2])
    out = torch.zeros(call["q"].shape, dtype=torch.float64)

    def attend(query, segments):
        keys, values, bias = (torch.cat(parts) for parts in zip(*segments, strict=True))
        seen = bias > -torch.inf
        if not seen.any():
            return torch.zeros(SIZE, dtype=torch.float64)
        weights = torch.exp(0.6 * (keys[seen] @ query) + bias[seen])
        return weights @ values[seen] / weights.sum()

    def mix(h, i, pairs):
        keys = sum(w * bank_key[s, h] for s, w in pairs)
        values = sum(w * bank_value[s, h] for s, w in pairs)
        mean = []
        for place in range(bank_key.shape[2]):
            shown = [(w, bank[s, h, i, place]) for s, w in pairs if bank[s, h, i, place] > -torch.inf]
            total = sum(w for w, _ in shown)
            mean.append(sum(w * b for w, b in shown) / total if shown else torch.tensor(-torch.inf))
        return keys, values, torch.stack([torch.as_tensor(b, dtype=torch.float64) for b in mean])

    for row, h, i in itertools.product(range(key.shape[0]), range(HEADS), range(QUERIES)):
        query, mine = call["q"][row, h, i].double(), (key[row, h], value[row, h], own[row, h, i])
        plan = call["plan"]
        pairs = [(s, w) for s, w in zip(plan.sources[row].tolist(), plan.weights[row].tolist(), strict=True) if w]
        ending = [mine] if fuse_self else []
        if not pairs:
            out[row, h, i] = attend(query, [mine])
        elif mode == "outer":
            out[row, h, i] = sum(
                w * attend(query, [(bank_key[s, h], bank_value[s, h], bank[s, h, i]), *ending]) for s, w in pairs
            )
        else:
            out[row, h, i] = attend(query, [mix(h, i, pairs), *ending])
    return out


COMBINATIONS = [(own, bank) for own in KINDS for bank in KINDS if {own, bank} & {"bool", "additive", "infinite"}]


@pytest.mark.parametrize("sources", PLANS)
@pytest.mark.parametrize("fuse_self", [True, False], ids=["fused", "alone"])
@pytest.mark.parametrize("mode", OPS)
def test_equations_hold_for_every_combination(mode, fuse_self, sources):
    for seed, (own, bank) in enumerate(COMBINATIONS):
        call = call_of(sources, own, bank, seed=seed)
        expected = written_out(mode, call, fuse_self)
        for impl in ("reference", "sdpa"):
            actual = OPS[mode](**call, fuse_self=fuse_self, impl=impl)
            assert (actual - expected).abs().max() < 1e-12, (impl, own, bank)


@pytest.mark.parametrize("shape", [dict(heads=1), dict(queries=1), dict(heads=1, queries=1)], ids=str)
@pytest.mark.parametrize("mode", OPS)
def test_an_axis_of_one_is_for_all(mode, shape):
    call = call_of(2, "additive", "additive", own_bank=True, **shape)
    assert call["key_mask"].numel() < call["q"].shape[0] * HEADS * QUERIES * KEYS
    for impl in ("reference", "sdpa"):
        assert (OPS[mode](**call, impl=impl) - written_out(mode, call, True)).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("mode", OPS)
def test_narrow_dtypes(mode, dtype):
    call = call_of(2, "infinite", "bool", dtype)
    error = (OPS[mode](**call, impl="sdpa").double() - written_out(mode, call, True)).abs().max()
    assert error < 12 * torch.finfo(dtype).eps


@pytest.mark.parametrize("mode", OPS)
def test_a_mask_of_keys_given_with_a_query_axis_is_the_same(mode):
    call = call_of(2, "keys", "keys", own_bank=True)
    wide = {name: call[name][:, None, None].expand(-1, HEADS, QUERIES, -1) for name in ("key_mask", "bank_mask")}
    for impl in ("reference", "sdpa"):
        assert (OPS[mode](**call, impl=impl) - OPS[mode](**call | wide, impl=impl)).abs().max() < 1e-14


@pytest.mark.parametrize("mode", OPS)
def test_what_no_query_sees_may_hold_anything(mode):
    call = call_of(2, "bool", "infinite")  # key 2 is hidden from everyone
    expected = written_out(mode, call, True)
    for part in (call["k"], call["v"], *call["bank"]):
        part[:, :, 2] = torch.nan
    for impl in ("reference", "sdpa"):
        assert (OPS[mode](**call, impl=impl) - expected).abs().max() < 1e-12 or mode == "inner"
        assert OPS[mode](**call, impl=impl).isfinite().all()


def test_many_rows_and_heads_in_pieces(monkeypatch):
    monkeypatch.setattr("aid_kernels.interpolated_attention.impl.sdpa.MIN_LOGITS", {"cpu": 1})
    monkeypatch.setattr("aid_kernels.interpolated_attention.impl.log_sum_exp_ops.MAX_ROWS", {"cpu": 1})
    call = call_of(3, "infinite", "bool")
    for mode in OPS:
        assert (OPS[mode](**call, impl="sdpa") - written_out(mode, call, True)).abs().max() < 1e-12


@pytest.mark.parametrize("fuse_self", [True, False], ids=["fused", "alone"])
@pytest.mark.parametrize("mode", OPS)
def test_gradients(mode, fuse_self):
    for own, bank in (("infinite", "bool"), ("keys", "additive")):
        call = call_of(2, own, bank)
        tensors = [part.requires_grad_() for part in (call["q"], call["k"], call["v"], *call["bank"])]

        def run(query, key, value, *pair, call=call):
            return OPS[mode](**call | dict(q=query, k=key, v=value, bank=pair), fuse_self=fuse_self)

        assert gradcheck(run, tensors)


@pytest.mark.parametrize("mode", OPS)
def test_the_op_keeps_torchs_contract_and_compiles_whole(mode):
    from aid_kernels.interpolated_attention.checks import checked_inputs
    from aid_kernels.interpolated_attention.inputs import flatten

    call = call_of(2, "infinite", "bool", torch.float32)
    names = ("q", "k", "v", "plan", "fuse_self", "bank", "key_mask", "bank_mask", "scale")
    inputs = checked_inputs(*((call | {"fuse_self": True})[name] for name in names))
    op = getattr(getattr(torch.ops, NAMESPACE), f"{mode}_attention").default
    torch.library.opcheck(op, (*flatten(inputs), "sdpa", False), test_utils=("test_schema", "test_faketensor"))
    compiled = torch.compile(OPS[mode], fullgraph=True, backend="eager")
    assert torch.equal(compiled(**call), OPS[mode](**call))


def test_triton_says_why_it_declines(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    call = call_of(2, "bool", "additive", torch.float32)
    found = explain(**call)
    assert found.implementation == "sdpa"
    assert [reason for reason in found.unsupported_reasons["triton"] if "key_mask has a query axis" in reason]
    assert [reason for reason in found.unsupported_reasons["triton"] if "bank_mask has a query axis" in reason]
    with pytest.raises(ValueError, match="key_mask has a query axis"):
        outer_attention(**call, impl="triton")


def test_a_recorded_choice_for_masks_of_keys_is_not_taken():
    from aid_kernels import recorded_choices

    call = call_of(2, "bool", "bool", own_bank=True)
    keys = {"key_mask": torch.ones(3, KEYS, dtype=torch.bool), "bank_mask": torch.ones(3, KEYS, dtype=torch.bool)}
    with recorded_choices() as recorded:
        outer_attention(**call)
        assert not recorded
        outer_attention(**call | keys)
        assert len(recorded) == 1


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (dict(key_mask=torch.zeros(3, HEADS, QUERIES, KEYS - 1)), ValueError, r"must be \(3, 2, 3, 5\), with 1"),
        (dict(key_mask=torch.zeros(3, 5, QUERIES, KEYS)), ValueError, r"must be \(3, 2, 3, 5\)"),
        (dict(bank_mask=torch.zeros(4, 1, 2, 4)), ValueError, r"bank_mask must be \(4, 2, 3, 4\)"),
        (dict(key_mask=torch.zeros(3, KEYS)), TypeError, "four dimensions"),
        (dict(key_mask=torch.ones(3, 1, 1, KEYS, dtype=torch.int64)), TypeError, "must be bool"),
        (dict(key_mask=torch.ones(3, 1, KEYS, dtype=torch.bool)), ValueError, r"\(3, 5\), or \(3, 2, 3, 5\)"),
        (dict(key_mask=torch.zeros(3, 1, 1, KEYS, dtype=torch.float16)), TypeError, "cast it"),
        (dict(key_mask=torch.zeros(3, 1, 1, KEYS, requires_grad=True)), ValueError, r"key_mask.detach\(\)"),
    ],
)
def test_bad_masks_are_named(change, error, match):
    call = call_of(2, "none", "none", torch.float32)
    with pytest.raises(error, match=match):
        outer_attention(**call | change)

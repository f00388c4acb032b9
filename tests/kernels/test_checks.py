"""Every bad input raises before anything runs, and names the value and the fix."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from aid_kernels import InterpolationPlan, explain, inner_attention, outer_attention

B, H, S, D = 3, 2, 6, 16


def call(**changes: Any) -> dict[str, Any]:
    arguments = {name: torch.randn(B, H, S, D) for name in ("q", "k", "v")}
    return arguments | {"plan": InterpolationPlan.sequence([0, 0.5, 1])} | changes


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    (dict(q=torch.randn(B, S, D)), ValueError, "q must be .* 3 dimensions"),
    (dict(k=torch.randn(B + 1, H, S, D), v=torch.randn(B + 1, H, S, D)), ValueError, "differ in batch"),
    (dict(k=torch.randn(B, H + 1, S, D), v=torch.randn(B, H + 1, S, D)), ValueError, "differ in heads"),
    (dict(k=torch.randn(B, H, S, 8), v=torch.randn(B, H, S, 8)), ValueError, "differ in head_dim"),
    (dict(v=torch.randn(B, H, S + 1, D)), ValueError, "k and v must have one shape"),
    ({name: torch.randn(B, H, S, 20) for name in "qkv"}, ValueError, "multiple of 8 .* got 20"),
    ({name: torch.randn(B, H, S, 264) for name in "qkv"}, ValueError, "got 264"),
    ({name: torch.randn(B, H, S, 0) for name in "qkv"}, ValueError, "got 0"),
    (dict(q=torch.randn(B, H, S, 2 * D)[..., ::2]), ValueError, "unit last stride"),
    (dict(k=torch.randn(B, H, S, D).half()), TypeError, "k is torch.float16|q is torch.float32 but k"),
    ({name: torch.randint(9, (B, H, S, D)) for name in "qkv"}, TypeError, "got torch.int64"),
    (dict(plan=InterpolationPlan.sequence([0, 0.2, 0.5, 1])), ValueError, "plan has 4 rows but q has 3"),
    (dict(plan=None), TypeError, "plan must be an InterpolationPlan"),
    (dict(plan=InterpolationPlan.sequence([0, 0.5, 1]).to("meta")), ValueError, "plan is on meta"),
    (dict(bank=(torch.randn(2, H, S, D),) * 2), ValueError, "bank entry 2 but the bank has 2"),
    (dict(bank=torch.randn(4, H, S, D)), TypeError, "pair"),
    (dict(bank=(torch.randn(4, H, S, D), torch.randn(4, H, S + 1, D))), ValueError, "k_src and v_src"),
    (dict(bank=(torch.randn(4, H + 1, S, D),) * 2), ValueError, "bank differ in heads"),
    (dict(key_mask=torch.ones(B, S)), TypeError, "key_mask must be bool"),
    (dict(key_mask=torch.ones(B, S + 1, dtype=torch.bool)), ValueError, r"key_mask must be \(3, 6\)"),
    (dict(bank_mask=torch.ones(B, 1, S, dtype=torch.bool)), ValueError, "bank_mask must be"),
    (dict(scale=float("nan")), ValueError, "scale must be finite"),
    (dict(scale=-float("inf")), ValueError, "scale must be finite, got -inf"),
    (dict(scale=10**400), ValueError, "scale must be finite, got 1000"),
    (dict(scale="0.1"), TypeError, "scale must be a number or None, got str: '0.1'"),
    (dict(scale=True), TypeError, "scale must be a number or None, got bool"),
    (dict(scale=0.1 + 0j), TypeError, "scale must be a number or None, got complex"),
    (dict(scale=torch.tensor(0.1)), TypeError, "scale must be a number or None, got Tensor"),
    (dict(scale=[0.1]), TypeError, "scale must be a number or None, got list"),
    (dict(fuse_self=2), TypeError, "fuse_self must be True or False, got 2"),
    (dict(fuse_self="no"), TypeError, "fuse_self must be True or False, got 'no'"),
    (dict(fuse_self=None), TypeError, "fuse_self must be True or False, got None"),
    (dict(fuse_self=torch.tensor(True)), TypeError, r"fuse_self must be True or False, got tensor\(True\)"),
    (dict(q=None), TypeError, "q must be a tensor, got NoneType"),
    (dict(v="v"), TypeError, "v must be a tensor, got str"),
    (dict(q=torch.nested.nested_tensor([torch.randn(H, S, D)] * B)), ValueError, "q must be a dense.* a nested one"),
    (dict(k=torch.nested.nested_tensor([torch.randn(H, S, D)] * B)), ValueError, "k must be a dense.* a nested one"),
    (
        dict(v=torch.nested.nested_tensor([torch.randn(H, S, D)] * B, layout=torch.jagged)),
        ValueError,
        "v must be a dense.* a nested one",
    ),
    (dict(q=torch.randn(B, H, S, D).to_sparse()), ValueError, r"q must be a dense.*sparse_coo.*to_dense\(\)"),
    (dict(bank=(torch.randn(4, H, S, D), None)), TypeError, "v_src must be a tensor, got NoneType"),
    (dict(bank=(torch.randn(4, H, S, D),)), TypeError, "pair"),
    (dict(bank=(torch.randn(4, H, S, D).to_sparse(),) * 2), ValueError, "k_src must be a dense"),
    (dict(key_mask=[[True] * S] * B), TypeError, "key_mask must be bool .* got list"),
    (dict(bank_mask=torch.ones(B, S, dtype=torch.bool).to_sparse()), ValueError, "bank_mask must be a dense"),
    (dict(plan=[0, 0.5, 1]), TypeError, "plan must be an InterpolationPlan, got list"),
    (dict(impl=None), ValueError, "must be one of auto, triton, hopper, sdpa, reference, got None"),
    (dict(impl=torch.ones(2)), ValueError, "must be one of auto, triton, hopper, sdpa, reference, got tensor"),
    (dict(impl="flash"), ValueError, "must be one of auto, triton, hopper, sdpa, reference, got 'flash'"),
]


@pytest.mark.parametrize(("changes", "error", "message"), BAD, ids=[message for *_, message in BAD])
@pytest.mark.parametrize("op", [outer_attention, inner_attention, explain])
def test_bad_input_raises(op: Any, changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        op(**call(**changes))


@pytest.mark.parametrize("mode", ["both", None, 1, ["outer"], torch.ones(2)], ids=repr)
def test_unknown_mode(mode: Any) -> None:
    with pytest.raises(ValueError, match="mode must be one of outer, inner, got "):
        explain(**call(), mode=mode)


@pytest.mark.parametrize("scale", [1, np.float32(0.25), np.int64(2), Fraction(1, 4), -0.5, 0])
def test_numbers_of_any_kind_are_scales(scale: Any) -> None:
    arguments = call()
    assert torch.equal(outer_attention(**arguments, scale=scale), outer_attention(**arguments, scale=float(scale)))

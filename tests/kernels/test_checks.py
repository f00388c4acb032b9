"""Every bad input raises before anything runs, and names the value and the fix."""

from typing import Any

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
    (dict(impl="flash"), ValueError, "must be one of auto, triton, sdpa, reference, got 'flash'"),
]


@pytest.mark.parametrize(("changes", "error", "message"), BAD, ids=[message for *_, message in BAD])
@pytest.mark.parametrize("op", [outer_attention, inner_attention, explain])
def test_bad_input_raises(op: Any, changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        op(**call(**changes))


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="mode must be one of outer, inner, got 'both'"):
        explain(**call(), mode="both")

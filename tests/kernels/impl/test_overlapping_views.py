"""Views whose elements overlap, windows over one sequence among them: any strides with a unit last one are served."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from aid_kernels.interpolated_attention.impl.log_sum_exp_ops import attend
from tests.testing import OPS, Case, assert_accepted

B, H, S, D = 3, 3, 37, 40


def along_positions(rows: int = B) -> Tensor:
    return torch.randn(rows, H, S + D).unfold(2, D, 1)[:, :, :S]


def along_heads(rows: int = B) -> Tensor:
    return torch.randn(rows, S, H + D).unfold(2, D, 1)[:, :, :H].transpose(1, 2)


def along_rows(rows: int = B) -> Tensor:
    return torch.randn(H, S, rows + D).unfold(2, D, 1)[:, :, :rows].permute(2, 0, 1, 3)


def of_one_sequence(rows: int = B) -> Tensor:
    """Every dimension steps by 1."""
    return torch.randn(rows + H + S + D).as_strided((rows, H, S, D), (1, 1, 1, 1))


def expanded(rows: int = B) -> Tensor:
    return torch.randn(rows, 1, S, D).expand(rows, H, S, D)


def dense(arguments: dict[str, object]) -> dict[str, object]:
    """The same call without overlaps, which the oracle's float64 copies would otherwise give another last stride."""

    def copied(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(copied(part) for part in value)
        return value.contiguous() if isinstance(value, Tensor) else value

    return {name: copied(value) for name, value in arguments.items()}


LAYOUTS = [along_positions, along_heads, along_rows, of_one_sequence, expanded]


@pytest.mark.parametrize("impl", ["sdpa", "triton", "reference"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
@pytest.mark.parametrize("mode", OPS)
def test_windows_are_served(mode: str, layout: Callable[[], Tensor], impl: str) -> None:
    torch.manual_seed(0)
    arguments = Case(mode=mode).inputs()
    for name in ("q", "k", "v"):
        arguments[name] = layout()
        assert arguments[name].stride(-1) == 1
    assert_accepted(OPS[mode](**arguments, impl=impl), mode, dense(arguments))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", OPS)
def test_windows_with_masks_and_a_bank_in_half_precision(mode: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    arguments = Case(mode=mode, dtype=dtype, masks="some", bank=(4, S)).inputs()
    arguments["q"] = torch.randn(B, H, S + D).to(dtype).unfold(2, D, 1)[:, :, :S]
    arguments["bank"] = tuple(
        torch.randn(4, S, H + D).to(dtype).unfold(2, D, 1)[:, :, :H].transpose(1, 2) for _ in "kv"
    )
    assert_accepted(OPS[mode](**arguments, impl="sdpa"), mode, dense(arguments))


def test_a_query_is_copied_only_where_the_op_would_write_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []
    contiguous = Tensor.contiguous
    monkeypatch.setattr(Tensor, "contiguous", lambda tensor: copied.append(tensor.stride()) or contiguous(tensor))
    key = torch.randn(B, H, S, D)
    for query in (key, torch.randn(B, S, H, D).transpose(1, 2), torch.randn(B, S, 3, H, D)[:, :, 1].transpose(1, 2)):
        attend(query, key, key, None, 0.2)
    attend(expanded(), key, key, None, 0.2)
    assert copied == []
    attend(along_positions(), key, key, None, 0.2)
    assert len(copied) == 1

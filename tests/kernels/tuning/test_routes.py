"""The two routes of `sdpa`: both are right, and the rule between them reads shapes alone."""

from __future__ import annotations

import pytest
import torch

from aid_kernels import Choice, InterpolationPlan, explain
from aid_kernels.interpolated_attention.running import run_choice
from aid_kernels.interpolated_attention.tuning import routes
from tests.testing import OPS, Case, assert_accepted, bundled, covering_cases

CONCATENATED = Choice("sdpa", route="concatenated")
CASES = [case for case in covering_cases() if case.mode == "outer" and case.fuse_self and case.masks == "none"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_concatenated_keys_keep_the_contract(case: Case) -> None:
    arguments = case.inputs()
    assert_accepted(run_choice("outer", CONCATENATED, bundled(arguments)), "outer", arguments)


def call(
    queries: int, keys: int, dtype: torch.dtype = torch.float32, frames: int = 7, dim: int = 64, **more: object
) -> str | None:
    query, key = (torch.empty(frames, 1, length, dim, dtype=dtype) for length in (queries, keys))
    plan = InterpolationPlan.sequence(torch.linspace(0, 1, frames))
    return explain(query, key, key, plan, **more).choice.route  # type: ignore[arg-type]


def test_few_keys_are_concatenated_whatever_the_number_of_rows() -> None:
    for frames in (2, 7, 30):
        assert call(1024, 77, frames=frames) == "concatenated"
        assert call(1024, 1024, frames=frames) == "merged"
    assert call(256, 77) == "merged"
    assert call(1024, 77, torch.bfloat16) == "concatenated"


def test_masks_inner_and_unfused_calls_have_one_route() -> None:
    mask = torch.ones(7, 77, dtype=torch.bool)
    assert call(1024, 77, key_mask=mask) == "merged"
    assert call(1024, 77, mode="inner") == "merged"
    assert call(1024, 77, fuse_self=False) == "merged"


def padded(queries: int, keys: int, dtype: torch.dtype = torch.float32) -> int:
    return routes.padded_length(torch.empty(1, 1, queries, 64, dtype=dtype), keys)


def test_joined_keys_are_padded_where_that_is_faster() -> None:
    assert padded(1024, 154) == padded(1024, 154, torch.bfloat16) == 160
    assert padded(1024, 160) == 160
    assert padded(64, 154) == 154
    assert padded(1024, 257) == 257
    assert padded(1024, 154, torch.float64) == 154


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fuse_self", [True, False])
@pytest.mark.parametrize(("keys", "mode"), [(77, "outer"), (77, "inner"), (1, "inner"), (13, "outer")])
def test_padding_weighs_nothing(keys: int, mode: str, fuse_self: bool, dtype: torch.dtype) -> None:
    # logits far below zero: padding of logit 0 would take all the weight
    query = torch.randn(4, 2, 600, 32).abs().to(dtype)
    key = -torch.randn(4, 2, keys, 32).abs().to(dtype) * 8
    value = torch.randn(4, 2, keys, 32).to(dtype)
    plan = InterpolationPlan.sequence(torch.linspace(0, 1, 4))
    arguments = {"q": query, "k": key, "v": value, "plan": plan, "fuse_self": fuse_self, "scale": None}
    assert_accepted(OPS[mode](**arguments, impl="sdpa"), mode, arguments)

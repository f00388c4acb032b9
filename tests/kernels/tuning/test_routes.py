"""The two routes of `sdpa`: both are right, and the rule between them reads shapes alone."""

from __future__ import annotations

import pytest
import torch

from aid_kernels import Choice, InterpolationPlan, explain
from aid_kernels.interpolated_attention.running import run_choice
from aid_kernels.interpolated_attention.tuning import routes
from tests.testing import Case, assert_accepted, bundled, covering_cases

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


def test_no_call_is_concatenated_before_results_are_committed() -> None:
    # a head_dim of its own: a choice stays the same within a process
    assert call(1024, 77, dim=32) == "merged"
    assert call(1024, 77, torch.bfloat16, dim=32) == "merged"


def test_few_keys_are_concatenated_whatever_the_number_of_rows(monkeypatch) -> None:
    monkeypatch.setattr(routes, "FEW_KEYS", 80)
    for frames in (2, 7, 30):
        assert call(1024, 77, frames=frames) == "concatenated"
        assert call(1024, 1024, frames=frames) == "merged"
    assert call(256, 77) == "merged"
    assert call(256, 77, torch.bfloat16) == "concatenated"


def test_masks_inner_and_unfused_calls_have_one_route(monkeypatch) -> None:
    monkeypatch.setattr(routes, "FEW_KEYS", 80)
    mask = torch.ones(7, 77, dtype=torch.bool)
    assert call(1024, 77, key_mask=mask) == "merged"
    assert call(1024, 77, mode="inner") == "merged"
    assert call(1024, 77, fuse_self=False) == "merged"

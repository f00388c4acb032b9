"""Bad arguments of every public function of a plan: TypeError or ValueError, naming the argument and its value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from aid_kernels import InterpolationPlan

PLAN = InterpolationPlan.sequence([0, 0.25, 0.5, 1])
NOT_NUMBERS: list[tuple[Any, type[Exception], str]] = [
    (None, TypeError, "must be numbers, got None"),
    ("abc", TypeError, "must be numbers, got 'abc'"),
    (b"ab", TypeError, "must be numbers, got b'ab'"),
    ({0.0: 1}, TypeError, "must be numbers, got {0.0: 1}"),
    ([0, "a", 1], (TypeError, ValueError), r"got \[0, 'a', 1\]"),  # type: ignore[list-item]
    ([0, None, 1], TypeError, r"must be numbers, got \[0, None, 1\]"),
    ([0, 0.5 + 1j, 1], TypeError, "must be real numbers, got torch.complex"),
    (np.array([0, 0.5 + 1j, 1]), TypeError, "must be real numbers, got torch.complex"),
    (torch.tensor([0, 0.5 + 1j, 1]), TypeError, "must be real numbers, got torch.complex"),
    ([False, True], TypeError, "must be real numbers, got torch.bool"),
    (torch.tensor([0.0, 1.0]).to_sparse(), ValueError, "must be a dense tensor"),
    (torch.tensor([0.0, 1.0], device="meta"), ValueError, "meta device"),
    ([[0, 1], [1]], ValueError, r"even grid of numbers, got \[\[0, 1\], \[1\]\]"),
]


@pytest.mark.parametrize(("values", "error", "message"), NOT_NUMBERS, ids=[repr(values) for values, *_ in NOT_NUMBERS])
def test_values_that_are_no_numbers(values: Any, error: type[Exception], message: str) -> None:
    for name, maker in (
        ("coefficients", InterpolationPlan.sequence),
        ("coefficients", InterpolationPlan.keyframes),
        ("weights", InterpolationPlan.barycentric),
        ("weights", lambda weights: InterpolationPlan([[0, 1]], weights)),  # type: ignore[arg-type]
        ("sources", lambda sources: InterpolationPlan(sources, [[0.5, 0.5]])),  # type: ignore[arg-type]
    ):
        with pytest.raises(error, match=f"{name} .*{message}"):
            maker(values)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.tensor([False, True, True, False]), r"rows must be integers, got a mask.*nonzero\(\)"),
        ([False, True, True, False], "every element of rows must be an integer, got False"),
        (np.array([False, True]), "every element of rows must be an integer"),
        ([0.7], "every element of rows must be an integer, got 0.7"),
        ([1.0], "got 1.0"),
        (torch.tensor([0.7]), "got tensor"),
        (["1"], "got '1'"),
        ("12", "rows must be a list of integers, got '12'"),
        (None, "rows must be a list of integers, got None"),
        (1, "rows must be a list of integers, got 1"),
        (torch.tensor(1), r"rows must be a list of integers, got tensor\(1\)"),
        (torch.tensor([[1]]), "rows must be a list of integers"),
        ([None], "got None"),
        (slice("a", None), "rows must be a slice of integers"),
    ],
    ids=repr,
)
def test_select_takes_integers_alone(rows: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        PLAN.select(rows)


def test_select_with_a_step_of_zero() -> None:
    with pytest.raises(ValueError, match="step other than 0"):
        PLAN.select(slice(None, None, 0))


@pytest.mark.parametrize("bank", [0, "03", [0.0, 3.0], [True, False], torch.tensor([True, False])], ids=repr)
def test_select_takes_banks_of_integers_alone(bank: Any) -> None:
    with pytest.raises(TypeError, match="bank"):
        PLAN.select([1], bank=bank)


@pytest.mark.parametrize(
    "rows", [[1, -1], range(1, 3), np.array([1, 2]), torch.tensor([1, 2]), (1, np.int32(2))], ids=repr
)
def test_integers_of_any_kind_are_rows(rows: Any) -> None:
    chosen = [int(row) for row in rows]
    assert torch.equal(PLAN.select(rows).weights, PLAN.weights[chosen])
    assert torch.equal(PLAN.select(rows, bank=np.array([3, 0])).sources, 1 - (PLAN.sources[chosen] == 3).int())


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1.5, 2.9], "every element of frames_per_key must be an integer, got 1.5"),
        (1.5, "frames_per_key must be an integer, got 1.5"),
        (True, "frames_per_key must be an integer, got True"),
        ("22", "frames_per_key must be a list of integers, got '22'"),
        ([True, True], "every element of frames_per_key must be an integer"),
        (torch.tensor([1.0, 2.0]), "every element of frames_per_key"),
        (torch.tensor(2), "frames_per_key must be a list of integers"),
    ],
    ids=repr,
)
def test_frames_per_key_are_integers(counts: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        InterpolationPlan.keyframes([0, 0.5, 0, 0.5, 1], counts)


def test_a_position_far_beyond_the_rows_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="needs a row at that whole position"):
        InterpolationPlan.keyframes([0, 1e15])


@pytest.mark.parametrize(
    ("endpoints", "error", "message"),
    [
        ("ab", TypeError, "endpoints must be a list of integers, got 'ab'"),
        (3, TypeError, "endpoints must be a list of integers, got 3"),
        ([0.0, 1.0], TypeError, "every element of endpoints must be an integer, got 0.0"),
        ([False, True], TypeError, "every element of endpoints"),
        (torch.tensor([True, True]), TypeError, "endpoints must be integers, got a mask"),
        ([0], ValueError, "endpoints must be 2 rows"),
        ([0, 2], ValueError, r"got \[0, 2\]"),
        ([0, -1], ValueError, r"got \[0, -1\]"),
    ],
    ids=repr,
)
def test_endpoints_are_rows(endpoints: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        InterpolationPlan.barycentric([[1.0, 0.0], [0.0, 1.0]], endpoints=endpoints)


@pytest.mark.parametrize(
    ("rows", "error"),
    [("3", TypeError), (2.0, TypeError), (None, TypeError), (True, TypeError), (-1, ValueError), (2**31, ValueError)],
    ids=repr,
)
def test_plain_takes_a_number_of_rows(rows: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"rows must be .*got {rows!r}"):
        InterpolationPlan.plain(rows)


@pytest.mark.parametrize("plans", [None, 3, PLAN, [PLAN, None], [[0, 1]], "ab"], ids=repr)
def test_concat_takes_plans(plans: Any) -> None:
    with pytest.raises(TypeError, match="concat needs"):
        InterpolationPlan.concat(plans)


def test_concat_takes_any_iterable_of_plans() -> None:
    assert len(InterpolationPlan.concat(plan for plan in (PLAN, PLAN))) == 8  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "error"),
    [
        ("gpu", ValueError),
        ("cuda:99", ValueError),
        ("cpu:x", ValueError),
        ("", ValueError),
        (1.5, TypeError),
        (True, TypeError),
    ],
    ids=repr,
)
def test_devices_that_are_none(device: Any, error: type[Exception]) -> None:
    for maker in (
        lambda: InterpolationPlan.sequence([0, 1], device=device),
        lambda: InterpolationPlan.keyframes([0, 1], device=device),
        lambda: InterpolationPlan.barycentric([[1.0, 0.0], [0.0, 1.0]], device=device),
        lambda: InterpolationPlan.plain(2, device=device),
        lambda: PLAN.to(device),
    ):
        with pytest.raises(error, match=f"device .*{device!r}|device must be .*got {device!r}"):
            maker()


def test_to_nowhere() -> None:
    with pytest.raises(TypeError, match=r"device must be .* got None"):
        PLAN.to(None)  # type: ignore[arg-type]

"""Bad arguments of the functions about choices: TypeError or ValueError, naming the argument and its value."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aid_kernels import (
    CallBucket,
    Choice,
    InterpolationPlan,
    choices_from_json,
    choices_to_json,
    measured_here,
    outer_attention,
    recorded_choices,
)

BUCKET = CallBucket("outer", "float32", "cpu", 8, 5, 5, 5, 2, False, True)


@pytest.mark.parametrize(
    "record", ["ab", 3, [(BUCKET, Choice("sdpa"))], {"outer": Choice("sdpa")}, {BUCKET: "sdpa"}], ids=type
)
def test_a_record_is_a_mapping_of_buckets_to_choices(record: Any) -> None:
    with pytest.raises(TypeError, match=r"choices must be a mapping of CallBucket to Choice, got "):
        choices_to_json(record)
    with (
        pytest.raises(TypeError, match=r"replay must be a mapping of CallBucket to Choice, got "),
        recorded_choices(record),
    ):
        pass


@pytest.mark.parametrize("items", [None, 3, "ab", b"ab", {"call": {}, "choice": {}}], ids=repr)
def test_recorded_choices_are_a_list(items: Any) -> None:
    with pytest.raises(TypeError, match="recorded choices must be a list of objects, got "):
        choices_from_json(items)


@pytest.mark.parametrize("item", [3, None, "ab", {"call": {}}, {"call": {}, "choice": {}}, {"call": 1, "choice": 2}])
def test_an_item_is_an_object_of_call_and_choice(item: Any) -> None:
    with pytest.raises(ValueError, match=r"must be an object of .*, got "):
        choices_from_json([item])


@pytest.mark.parametrize(
    ("device", "error"), [("gpu", ValueError), ("cuda:99", ValueError), (None, TypeError), (1.5, TypeError)], ids=repr
)
def test_devices_that_are_none(device: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="device"):
        measured_here(device)


def test_what_is_right_is_taken() -> None:
    assert measured_here("cpu") == measured_here(torch.device("cpu"))
    given = [torch.randn(3, 1, 5, 8) for _ in range(3)]
    plan = InterpolationPlan.sequence([0, 0.3, 1])
    with recorded_choices() as used:
        outer_attention(*given, plan)
    assert list(used) == [BUCKET]
    assert choices_from_json(choices_to_json(used)) == used
    with recorded_choices(used):
        outer_attention(*given, plan)

"""Candidates of a bucket: which configurations of the kernel are tried beside the static one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aid_kernels.interpolated_attention.tuning.candidates import triton_candidates
from aid_kernels.interpolated_attention.tuning.choice import CallBucket
from aid_kernels.interpolated_attention.tuning.files import launchable, same_order
from aid_kernels.interpolated_attention.tuning.tile_sizes import TARGETS, LaunchConfig

BUCKET = CallBucket("outer", "bfloat16", "a GPU", 64, 4096, 4096, 4096, 2, False, True)


def capped(bucket: CallBucket, target: str = "sm_90", agreed: LaunchConfig | None = None) -> list[int]:
    """Where in the list registers are capped."""
    configs = [choice.config for choice in triton_candidates(bucket, target, agreed)]
    return [place for place, config in enumerate(configs) if config is not None and config.registers]


def test_two_programs_with_few_registers_are_tried_first_on_hopper() -> None:
    first, second, *_ = (choice.config for choice in triton_candidates(BUCKET, "sm_90"))
    assert (first.registers, second.registers) == (0, 128)
    assert (second.block_m, second.block_n, second.num_warps, second.num_stages, second.pad) == (128, 64, 8, 3, True)
    assert capped(replace(BUCKET, dtype="float16", head_dim=40)) == [1]


@pytest.mark.parametrize(
    "other",
    [dict(head_dim=80), dict(sources=3), dict(masked=True), dict(mode="inner"), dict(dtype="float32"),
     dict(query_length=256)],
    ids=str,
)  # fmt: skip
def test_they_are_not_tried_where_a_thread_holds_more_or_two_programs_fit_anyway(other: dict[str, object]) -> None:
    assert capped(replace(BUCKET, **other)) == []


def test_they_are_not_tried_on_other_chips() -> None:
    assert [target for target in TARGETS if capped(BUCKET, target)] == ["sm_90"]


def test_an_agreed_configuration_is_capped_for_few_sources_alone() -> None:
    kept = triton_candidates(BUCKET, "sm_90")[1].config
    for sources, expected in ((1, 128), (3, 0)):
        configs = [choice.config for choice in triton_candidates(replace(BUCKET, sources=sources), "sm_90", kept)]
        assert configs[0].registers == expected
        assert all(same_order(config, kept) for config in configs)


def test_loops_split_among_warps_are_tried_first_on_blackwell() -> None:
    def split(bucket: CallBucket, target: str = "sm_100") -> list[int]:
        configs = [choice.config for choice in triton_candidates(bucket, target)]
        return [place for place, config in enumerate(configs) if config is not None and config.descriptors]

    assert [target for target in TARGETS if split(BUCKET, target)] == ["sm_100"]
    assert split(BUCKET) == split(replace(BUCKET, mode="inner", head_dim=40)) == [1]
    others = (dict(head_dim=128), dict(sources=3), dict(masked=True), dict(dtype="float32"))
    assert [split(replace(BUCKET, **other)) for other in others] == [[]] * 4


@pytest.mark.parametrize("target", TARGETS)
def test_every_candidate_may_stand_in_a_file(target: str) -> None:
    for bucket in (
        BUCKET,
        replace(BUCKET, key_length=77, bank_length=77),
        replace(BUCKET, query_length=64, masked=True),
    ):
        assert all(launchable(choice.config) for choice in triton_candidates(bucket, target))

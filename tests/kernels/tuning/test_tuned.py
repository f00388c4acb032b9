"""Tuned configurations: which entry serves a call, and that the kernels and `auto` follow it. No GPU needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from aid_kernels import InterpolationPlan, explain
from aid_kernels.interpolated_attention import auto
from aid_kernels.interpolated_attention.impl.triton.support import interpreting
from aid_kernels.interpolated_attention.tuning import files, tuned
from aid_kernels.interpolated_attention.tuning.files import Bucket, ConfigFileError, parse
from aid_kernels.interpolated_attention.tuning.tile_sizes import LaunchConfig, fit, static_config
from tests.kernels.tuning.entries import CONFIG, GPU, content, entry, write
from tests.testing import OPS, Case, assert_accepted


def find(entries: list[dict[str, Any]], sources: int = 2, **changes: Any) -> tuned.TunedConfig | None:
    wanted = dict(mode="outer", dtype="bfloat16", head_dim=64, query_length=4096, key_length=4096, masked=False)
    return tuned.nearest(parse(content(*entries), "made")[1], "sm_90", Bucket(**wanted | changes), sources)


def test_nearest_length_counts_doublings() -> None:
    entries = [entry(query_length=length, key_length=length, triton_ms=float(length)) for length in (256, 1024, 4096)]
    for length, expected in ((100, 256), (400, 256), (600, 1024), (1500, 1024), (3000, 4096), (100_000, 4096)):
        found = find(entries, query_length=length, key_length=length)
        assert found is not None
        assert found.entry.triton_ms == expected


def test_auto_counts_only_near_what_was_measured() -> None:
    near, far = find([entry()], query_length=2048, key_length=8192), find([entry()], key_length=77)
    assert near is not None
    assert far is not None
    assert (near.auto, far.auto) == ("triton", None)
    assert far.config == LaunchConfig(**CONFIG)


def test_other_head_sizes_modes_masks_and_wide_dtypes_are_not_guessed() -> None:
    for changes in (dict(head_dim=72), dict(mode="inner"), dict(masked=True), dict(dtype="float32")):
        assert find([entry()], **changes) is None
    assert find([entry(dtype="float16", triton_ms=2.0)]).entry.triton_ms == 2.0
    both = [entry(dtype="float16", triton_ms=2.0), entry()]
    assert find(both).entry.triton_ms == 1.0


def test_the_order_of_sums_does_not_depend_on_the_number_of_sources() -> None:
    many = entry(sources=3, config=CONFIG | dict(slices=2, num_stages=1), auto="sdpa")
    near = entry(query_length=1024, config=CONFIG | dict(block_n=32), sources=3)
    assert find([entry(), many, near], sources=5).config == LaunchConfig(**CONFIG | dict(slices=2, num_stages=1))
    assert find([entry(), many], sources=5).auto == "sdpa"
    assert find([entry(), many], sources=0).auto == "triton"
    # no measurement with many sources in the nearest bucket: its tiles, with the table's slices, and no word on speed
    alone = find([entry(head_dim=128), near], sources=5, head_dim=128)
    assert alone.config == LaunchConfig(**CONFIG | dict(slices=2))
    assert static_config("sm_90", 2, 128, many=True, masked=False, inner=False, queries=64, keys=4096).slices == 2
    assert alone.auto is None
    for tiles in (fit("sm_90", 128, alone.config, 4096).tiles, fit("sm_90", 128, LaunchConfig(**CONFIG), 4096).tiles):
        assert (tiles.block_n, tiles.tail, tiles.key_main) == (16, 16, 128)


@pytest.fixture
def pretend_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CPU tensors pass for a GPU's, with a file of its own in the folder returned."""
    monkeypatch.setattr(files, "SHIPPED", tmp_path / "none")
    for module in (tuned, auto):
        monkeypatch.setattr(module, "gpu_name", lambda device: GPU)
    monkeypatch.setenv("AID_KERNELS_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("AID_KERNELS_AUTO", "static")
    return tmp_path


@pytest.mark.skipif(not interpreting(), reason="needs TRITON_INTERPRET=1, which GPUs exclude")
@pytest.mark.parametrize("mode", OPS)
def test_the_kernel_and_auto_follow_the_file(mode: str, pretend_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aid_kernels.interpolated_attention.impl.triton.launch import Launch

    case = Case(mode=mode, heads=1, dtype=torch.bfloat16)
    arguments = case.inputs()
    chosen = dict(CONFIG, mix="before") if mode == "inner" else CONFIG
    measured_at = dict(mode=mode, head_dim=40, query_length=37, key_length=37)
    write(pretend_gpu, entry(**measured_at, config=chosen), entry(**measured_at, masked=True, auto="sdpa"))
    launched = []
    run = Launch.run
    monkeypatch.setattr(Launch, "run", lambda launch: (launched.append(launch), run(launch))[1])
    found = explain(**arguments, mode=mode)
    assert found.implementation == "triton"
    assert f"the faster one on {GPU}: triton 1 ms, sdpa 1.5 ms" in found.reason
    assert found.log_sum_exp_op == "flash_for_cpu"
    assert_accepted(OPS[mode](**arguments), mode, arguments)
    assert [launch.constants.get("MODE", "lerp") for launch in launched] == (
        ["outer"] if mode == "outer" else ["lerp", "inner_premixed"]
    )
    tiles = launched[-1].constants["TILES"]
    assert (tiles.block_m, tiles.block_n, launched[-1].options["num_warps"]) == (16, 16, 4)
    masked = replace(case, masks="some").inputs()
    assert explain(**masked, mode=mode).implementation == "sdpa"


def test_auto_stays_with_the_stock_recipe_where_nothing_was_measured(
    pretend_gpu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    query = torch.zeros(3, 1, 16, 64, dtype=torch.bfloat16)
    arguments = (query, query, query, InterpolationPlan.sequence([0, 0.5, 1]))
    assert f"nothing like it was measured on {GPU}" in explain(*arguments).reason
    # a file is read once: another folder, another file
    other = pretend_gpu / "other"
    other.mkdir()
    monkeypatch.setenv("AID_KERNELS_CONFIG_DIR", str(other))
    wrong = entry()
    del wrong["auto"]
    write(other, wrong)
    with pytest.raises(ConfigFileError, match="auto must be one of"):
        OPS["outer"](*arguments)

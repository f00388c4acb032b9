"""Files of measured configurations: what is taken from them, for which call, and what is refused. No GPU needed."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from aid_kernels import InterpolationPlan, explain
from aid_kernels.interpolated_attention import dispatch
from aid_kernels.interpolated_attention.impl.triton import support as triton_support
from aid_kernels.interpolated_attention.tuning import files as config_files
from aid_kernels.interpolated_attention.tuning import tuned as measured
from aid_kernels.interpolated_attention.tuning.files import Bucket, ConfigFileError, load, parse
from aid_kernels.interpolated_attention.tuning.static import Setting, fit, static_setting
from tests.testing import OPS, Case, assert_accepted

GPU = "NVIDIA H200"
CONFIG = dict(block_m=16, block_n=16, num_warps=4, num_stages=2, slices=1, widest=256, pad=False)


def entry(**changes: Any) -> dict[str, Any]:
    made = dict(mode="outer", dtype="bfloat16", head_dim=64, query_length=4096, key_length=4096, sources=2)
    return made | dict(masked=False, auto="triton", triton_ms=1.0, sdpa_ms=1.5, config=dict(CONFIG)) | changes


def content(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return dict(format=1, gpu=GPU, smoke=False, machine={}, entries=list(entries)) | changes


def write(folder: Path, *entries: dict[str, Any], **changes: Any) -> Path:
    path = folder / config_files.file_name(GPU)
    path.write_text(json.dumps(content(*entries, **changes)))
    return path


def find(entries: list[dict[str, Any]], sources: int = 2, **changes: Any) -> measured.Measured | None:
    wanted = dict(mode="outer", dtype="bfloat16", head_dim=64, query_length=4096, key_length=4096, masked=False)
    return measured.nearest(parse(content(*entries), "made")[1], "sm_90", Bucket(**wanted | changes), sources)


def test_file_is_named_after_the_gpu() -> None:
    assert config_files.file_name("NVIDIA H200") == "nvidia-h200.json"
    assert config_files.file_name("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3.json"


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
    assert far.setting == Setting(**CONFIG)


def test_other_head_sizes_modes_masks_and_wide_dtypes_are_not_guessed() -> None:
    for changes in (dict(head_dim=72), dict(mode="inner"), dict(masked=True), dict(dtype="float32")):
        assert find([entry()], **changes) is None
    assert find([entry(dtype="float16", triton_ms=2.0)]).entry.triton_ms == 2.0
    both = [entry(dtype="float16", triton_ms=2.0), entry()]
    assert find(both).entry.triton_ms == 1.0


def test_the_order_of_sums_does_not_depend_on_the_number_of_sources() -> None:
    many = entry(sources=3, config=CONFIG | dict(slices=2, num_stages=1), auto="sdpa")
    near = entry(query_length=1024, config=CONFIG | dict(block_n=32), sources=3)
    assert find([entry(), many, near], sources=5).setting == Setting(**CONFIG | dict(slices=2, num_stages=1))
    assert find([entry(), many], sources=5).auto == "sdpa"
    assert find([entry(), many], sources=0).auto == "triton"
    # no measurement with many sources in the nearest bucket: its tiles, with the table's slices, and no word on speed
    alone = find([entry(head_dim=128), near], sources=5, head_dim=128)
    assert alone.setting == Setting(**CONFIG | dict(slices=2))
    assert static_setting("sm_90", 2, 128, many=True, masked=False).slices == 2
    assert alone.auto is None
    for tiles in (fit("sm_90", 128, alone.setting).tiles, fit("sm_90", 128, Setting(**CONFIG)).tiles):
        assert (tiles.block_n, tiles.tail, tiles.key_main) == (16, 16, 128)


def test_padding_is_a_choice() -> None:
    padded = fit("sm_90", 80, Setting(**CONFIG | dict(pad=True))).tiles
    assert (padded.key_main, padded.key_rest) == (128, 0)
    padded = fit("sm_90", 160, Setting(**CONFIG | dict(pad=True, widest=128))).tiles
    assert (padded.key_main, padded.key_rest) == (128, 128)


def test_a_users_buckets_replace_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    shipped.mkdir()
    own.mkdir()
    monkeypatch.setattr(config_files, "SHIPPED", shipped)
    assert load(GPU, None) == ()
    write(shipped, entry(), entry(sources=3), entry(head_dim=128))
    assert len(load(GPU, str(own))) == 3
    write(own, entry(config=CONFIG | dict(block_n=128)))
    found = load(GPU, str(own))
    assert [(one.bucket.head_dim, one.setting.block_n) for one in found] == [(128, 16), (64, 128)]
    with pytest.raises(ConfigFileError, match=r"AID_KERNELS_CONFIG_DIR=.*nowhere is not a folder.*nvidia-h200\.json"):
        load(GPU, str(tmp_path / "nowhere"))


def test_shipped_files_can_be_read() -> None:
    for path in config_files.SHIPPED.glob("*.json"):
        gpu, entries = parse(json.loads(path.read_text()), path.name)
        assert config_files.file_name(gpu) == path.name
        assert entries


BAD = {
    "format 2": (content(format=2), "has format 2, this version reads 1"),
    "no format": ({}, "has format None"),
    "a list": ([], "must hold a JSON object, got list"),
    "unknown key": (content(gpus=1), "unknown gpus; known are entries, format"),
    "no name": (content(gpu=None), "needs a name in 'gpu'"),
    "smoke": (content(smoke=True), "written by a smoke run"),
    "no entry": (content(3), "entry 0 must be an object, got 3"),
    "unknown in entry": (content(entry(), entry(head_size=3)), "entry 1 has unknown head_size"),
    "mode": (content(entry(mode="both")), "mode must be one of 'outer', 'inner', got 'both'"),
    "dtype": (content(entry(dtype="bf16")), "dtype must be one of"),
    "length": (content(entry(key_length=77.0)), "key_length must be a whole number of at least 1, got 77.0"),
    "time": (content(entry(sdpa_ms=0)), "sdpa_ms must be a time in ms above 0, got 0"),
    "choice": (content(entry(auto="reference")), "auto must be one of 'triton', 'sdpa'"),
    "no config": (content(entry(config=None)), "config must be an object"),
    "unknown in config": (content(entry(config=CONFIG | dict(warps=4))), "config has unknown warps"),
    "block": (content(entry(config=CONFIG | dict(block_n=48))), "block_n must be one of 16, 32, 64, 128, 256, got 48"),
    "true for 1": (content(entry(config=CONFIG | dict(slices=True))), "slices must be one of 1, 2, 4, got True"),
    "mix of outer": (content(entry(config=CONFIG | dict(mix="before"))), "mix must be one of None"),
    "doubled": (content(entry(), entry()), "two entries for Bucket"),
    "bits": (content(entry(), entry(sources=3, config=CONFIG | dict(block_n=32))), "slices and num_stages alone"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    wrong, message = BAD[name]
    path = tmp_path / config_files.file_name(GPU)
    path.write_text(json.dumps(wrong))
    with pytest.raises(ConfigFileError) as caught:
        load(GPU, str(tmp_path))
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_what_is_no_json_or_of_another_gpu_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, entry(), gpu="NVIDIA H100")
    with pytest.raises(ConfigFileError, match=r"measured on 'NVIDIA H100', not on 'NVIDIA H200'; call it nvidia-h100"):
        load(GPU, str(tmp_path))
    path.write_text("{")
    with pytest.raises(ConfigFileError, match=r"nvidia-h200\.json cannot be read as JSON"):
        load(GPU, str(tmp_path))


@pytest.fixture
def pretend_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CPU tensors pass for a GPU's, with a file of its own in the folder returned."""
    monkeypatch.setattr(config_files, "SHIPPED", tmp_path / "none")
    for module in (measured, dispatch):
        monkeypatch.setattr(module, "gpu_name", lambda device: GPU)
    monkeypatch.setenv("AID_KERNELS_CONFIG_DIR", str(tmp_path))
    measured._loaded.cache_clear()
    measured._nearest_on.cache_clear()
    return tmp_path


@pytest.mark.skipif(not triton_support.interpreting(), reason="needs TRITON_INTERPRET=1, which GPUs exclude")
@pytest.mark.parametrize("mode", OPS)
def test_the_kernel_and_auto_follow_the_file(mode: str, pretend_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aid_kernels.interpolated_attention.impl.triton import launch as triton_launch

    case = Case(mode=mode, heads=1, dtype=torch.bfloat16)
    arguments = case.inputs()
    chosen = dict(CONFIG, mix="before") if mode == "inner" else CONFIG
    measured_at = dict(mode=mode, head_dim=40, query_length=37, key_length=37)
    write(pretend_gpu, entry(**measured_at, config=chosen), entry(**measured_at, masked=True, auto="sdpa"))
    launched = []
    run = triton_launch.Launch.run
    monkeypatch.setattr(triton_launch.Launch, "run", lambda launch: (launched.append(launch), run(launch))[1])
    found = explain(**arguments, mode=mode)
    assert found.implementation == "triton"
    assert f"the faster one on {GPU}: triton 1 ms, sdpa 1.5 ms" in found.reason
    assert found.log_sum_exp_op == "flash_for_cpu"
    assert_accepted(OPS[mode](**arguments), mode, arguments)
    assert [launch.constants.get("KIND", "lerp") for launch in launched] == (
        ["listed"] if mode == "outer" else ["lerp", "packed"]
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
    measured._loaded.cache_clear()
    measured._nearest_on.cache_clear()
    wrong = copy.deepcopy(entry())
    del wrong["auto"]
    write(pretend_gpu, wrong)
    with pytest.raises(ConfigFileError, match="auto must be one of"):
        OPS["outer"](*arguments)

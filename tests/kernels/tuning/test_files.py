"""Files of tuned configurations: where they are looked for, and what is refused. No GPU needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aid_kernels.interpolated_attention.tuning import files
from aid_kernels.interpolated_attention.tuning.files import ConfigFileError, load, parse
from tests.kernels.tuning.entries import CONFIG, GPU, content, entry, write


def test_a_file_without_registers_or_descriptors_leaves_them_off() -> None:
    _, (read,) = parse(content(entry()), "here")
    assert not {"registers", "descriptors"} & set(CONFIG)
    assert (read.config.registers, read.config.descriptors) == (0, False)
    _, (set_,) = parse(content(entry(config=CONFIG | dict(registers=128, descriptors=True))), "here")
    assert (set_.config.registers, set_.config.descriptors) == (128, True)


def test_file_is_named_after_the_gpu() -> None:
    assert files.file_name("NVIDIA H200") == "nvidia-h200.json"
    assert files.file_name("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3.json"


def test_a_users_buckets_replace_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    shipped.mkdir()
    own.mkdir()
    monkeypatch.setattr(files, "SHIPPED", shipped)
    assert load(GPU, None) == ()
    write(shipped, entry(), entry(sources=3), entry(head_dim=128))
    assert len(load(GPU, str(own))) == 3
    write(own, entry(config=CONFIG | dict(block_n=128)))
    found = load(GPU, str(own))
    assert [(one.bucket.head_dim, one.config.block_n) for one in found] == [(128, 16), (64, 128)]
    with pytest.raises(ConfigFileError, match=r"AID_KERNELS_CONFIG_DIR=.*nowhere is not a folder.*nvidia-h200\.json"):
        load(GPU, str(tmp_path / "nowhere"))


def test_shipped_files_can_be_read() -> None:
    for path in files.SHIPPED.glob("*.json"):
        gpu, entries = parse(json.loads(path.read_text()), path.name)
        assert files.file_name(gpu) == path.name
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
    "bits": (
        content(entry(), entry(sources=3, config=CONFIG | dict(block_n=32))),
        "slices, num_stages and registers alone",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    wrong, message = BAD[name]
    path = tmp_path / files.file_name(GPU)
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

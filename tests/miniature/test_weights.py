"""A missing or damaged weight file gives an error that names it and says how to restore it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aid_pipeline.miniature.weights import MODEL_PATH, check, load, write_sums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(bytes(range(256)))
    (tmp_path / "model_index.json").write_text("{}")
    write_sums(tmp_path)
    return tmp_path


def test_whole_files_pass(folder: Path) -> None:
    check(folder)
    assert (folder / "SHA256SUMS").read_text().count("\n") == 2


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"unet/diffusion_pytorch_model\.safetensors is missing\. Copy it again"
    ):
        load(folder)


def test_one_changed_byte_is_named(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(b"\1" + path.read_bytes()[1:])
    with pytest.raises(ValueError, match=r"unet/diffusion_pytorch_model\.safetensors is damaged"):
        load(folder)


def test_a_folder_without_sums_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="SHA256SUMS is missing"):
        load(tmp_path / "nowhere")


def test_the_shipped_model_says_how_to_restore(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("aid_pipeline.miniature.weights.MODEL_PATH", folder)
    (folder / "model_index.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"git checkout -- aid_pipeline/miniature/model/model_index\.json"):
        check(folder)


@pytest.mark.skipif(not MODEL_PATH.is_dir(), reason="no weights are shipped yet")
def test_shipped_files_are_whole_and_small() -> None:
    check()
    assert sum(p.stat().st_size for p in MODEL_PATH.rglob("*") if p.is_file()) <= 32e6
    assert not [p for p in MODEL_PATH.rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")]

"""Provenance of a sequence: model, versions, machine and arguments, as `sequence.json` holds them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..precision import recorded_dtype
from .machine import machine, versions
from .weights import weights_digests

LATENTS_FILE = "latents.safetensors"  # beside sequence.json, if latents were given
FORMAT, FORMAT_WITH_IMAGES = 1, 2  # of sequence.json; raised when an older reader would misunderstand a newer file
_SAMPLES, _SAMPLE_BYTES = 16, 1 << 16


def model_identity(pipe: Any) -> dict[str, Any]:
    """Id or folder of the model, its revision or fingerprint, pipeline class, dtype, scheduler, adapters, weights."""
    name = getattr(pipe, "name_or_path", None)
    adapters = pipe.get_active_adapters() if _has_adapters(pipe) else []
    scheduler = getattr(pipe, "scheduler", None)
    return {
        **locate(name),
        "pipeline": type(pipe).__name__,
        "dtype": recorded_dtype(pipe),
        "scheduler": None
        if scheduler is None  # not by its length, which some compute
        else {"class": type(scheduler).__name__, "config": recorded_arguments(dict(scheduler.config))[0]},
        "adapters": adapters,
        "weights": weights_digests(pipe),
    }


def locate(name: str | None, revision: str | None = None) -> dict[str, Any]:
    """id, revision (hub model in the local cache) and fingerprint (folder) of what `from_pretrained` was given."""
    if not name:
        return {"id": None, "revision": None, "fingerprint": None}
    from ..miniature import MODEL_PATH

    folder = Path(name)
    if folder.is_dir():
        bundled = folder.resolve() == MODEL_PATH.resolve()
        return {
            "id": "miniature" if bundled else str(folder.resolve()),
            "revision": None,
            "fingerprint": fingerprint(folder),
        }
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(name, "model_index.json", revision=revision)
    commit = Path(index).parent.name if isinstance(index, str) else revision
    return {"id": name, "revision": commit, "fingerprint": None}


def fingerprint(folder: Path) -> str:
    """SHA-256 over names, sizes and samples of all weights of a model folder, and over its configuration files.

    Samples (16 blocks of 64 KiB per file) make it cheap for large models; any retraining changes them.
    """
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in (".safetensors", ".json")):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()} {size}\n".encode())
        with path.open("rb") as file:
            for sample in range(_SAMPLES):
                file.seek(size * sample // _SAMPLES)
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def settings(
    pipe: Any, arguments: dict[str, Any], chunk_used: int | None, selection: dict[str, Any] | None = None
) -> dict[str, Any]:
    """`Sequence.settings`: all values as JSON holds them.

    Args:
        pipe: the pipeline that generated the sequence.
        arguments: "arguments", "unrecorded" and "config" of the sequence.
        chunk_used: rows per denoiser call that "auto" came to.
        selection: how the coefficients were chosen, and what else was seen; None means they were given.
    """
    return {
        "model": model_identity(pipe),
        "versions": versions(),
        "machine": machine(pipe.device),
        **arguments,
        "chunk_used": chunk_used,
        **({} if selection is None else {"selection": selection}),
    }


def plain_value(value: Any) -> Any:
    """`value` as JSON can hold it; what has a `to_json` says itself how.

    Raises:
        TypeError: something JSON cannot hold, such as an image or NaN.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{value} cannot be written to JSON")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "to_json"):
        return plain_value(value.to_json())
    if isinstance(value, dict):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, bytes) or not isinstance(value, Iterable) or hasattr(value, "shape"):
        raise TypeError(f"{type(value).__name__} cannot be written to JSON")
    return [plain_value(item) for item in value]


def recorded_arguments(arguments: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Arguments as JSON, and the names of those it cannot hold (images, ...), whose value is their type's name."""
    recorded, unrecorded = {}, []
    for name, value in arguments.items():
        try:
            recorded[name] = plain_value(value)
        except TypeError:
            recorded[name] = type(value).__name__
            unrecorded.append(name)
    return recorded, unrecorded


def _has_adapters(pipe: Any) -> bool:
    """LoRA adapters are loaded; asking for them without PEFT raises."""
    parts = [getattr(pipe, name, None) for name in ("unet", "transformer")]
    return hasattr(pipe, "get_active_adapters") and any(bool(getattr(part, "peft_config", None)) for part in parts)

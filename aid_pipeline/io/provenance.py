"""Everything needed to make a sequence again: what goes into `sequence.json` besides the frames."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import platform
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..coefficients import BetaPrior
from ..config import AIDConfig
from ..selection import Selection

LATENTS_FILE = "latents.safetensors"  # beside sequence.json, if latents were given
FORMAT = 1  # of sequence.json; raised when an older reader would misunderstand a newer file
LIBRARIES = ("torch", "diffusers", "transformers", "triton", "numpy", "scipy", "pillow")
_SAMPLES, _SAMPLE_BYTES = 16, 1 << 16


def versions() -> dict[str, str]:
    """Of Python, this package and the libraries that decide the frames' bits."""
    from aid_kernels import __version__

    found = {"python": platform.python_version(), "aid-kernels": __version__}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine(device: torch.device) -> dict[str, Any]:
    """What else decides the bits: the processor, its threads, the GPU."""
    found: dict[str, Any] = {
        "platform": platform.platform(),
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        "device": str(device),
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
        found["cuda"] = torch.version.cuda
        found["cudnn"] = torch.backends.cudnn.version()
    return found


def processor_name() -> str:
    """The CPU's model, where the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def model_identity(pipe: Any) -> dict[str, Any]:
    """Which model: id or folder, revision or fingerprint, pipeline class, dtype, scheduler, adapters."""
    name = getattr(pipe, "name_or_path", None)
    adapters = pipe.get_active_adapters() if _has_adapters(pipe) else []
    scheduler = getattr(pipe, "scheduler", None)
    return {
        **locate(name),
        "pipeline": type(pipe).__name__,
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "scheduler": scheduler
        and {"class": type(scheduler).__name__, "config": recorded_arguments(dict(scheduler.config))[0]},
        "adapters": adapters,
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
    pipe: Any,
    arguments: dict[str, Any],
    config: AIDConfig,
    chunk_used: int | None,
    selection: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """`Sequence.settings`: all values as JSON holds them.

    Args:
        arguments: of `interpolate`, stock ones too.
        chunk_used: rows per denoiser call that "auto" came to.
        selection: how the coefficients were chosen, and what else was seen.
    """
    recorded, unrecorded = recorded_arguments(arguments)
    return {
        "model": model_identity(pipe),
        "versions": versions(),
        "machine": machine(pipe.device),
        "arguments": recorded,
        "unrecorded": unrecorded,
        "config": asdict(config),
        "chunk_used": chunk_used,
        **({} if selection is None else {"selection": selection}),
    }


def plain_value(value: Any) -> Any:
    """`value` as JSON can hold it.

    Raises:
        TypeError: something JSON cannot hold, such as an image or NaN.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{value} cannot be written to JSON")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, BetaPrior):
        return {"beta_prior": [value.alpha, value.beta]}
    if isinstance(value, Selection):
        return plain_value(vars(value))
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

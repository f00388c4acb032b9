"""Loader of pipelines by name: the miniature, a local folder, or a hub id; weights are safetensors only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ArgumentError, ModelError
from .extras import naming_extra

MINIATURE = "miniature"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class KnownModel:
    """A model of a supported family, as an example of what `--model` takes."""

    id: str
    family: str
    pixels: int


KNOWN_MODELS = (
    KnownModel(MINIATURE, "Stable Diffusion 1.x", 64),
    KnownModel("stable-diffusion-v1-5/stable-diffusion-v1-5", "Stable Diffusion 1.x", 512),
    KnownModel("stabilityai/stable-diffusion-2-1", "Stable Diffusion 2.x", 768),
    KnownModel("stabilityai/stable-diffusion-xl-base-1.0", "SDXL", 1024),
    KnownModel("stabilityai/stable-diffusion-3.5-medium", "Stable Diffusion 3.x", 1024),
    KnownModel("black-forest-labs/FLUX.1-dev", "FLUX.1", 1024),
    KnownModel("black-forest-labs/FLUX.1-schnell", "FLUX.1", 1024),
    KnownModel("PixArt-alpha/PixArt-Sigma-XL-2-1024-MS", "PixArt", 1024),
)


def check_model(model: str, revision: str | None = None) -> None:
    """Check a model's name without the network.

    Raises:
        ModelError: an empty name, a folder without `model_index.json`, or neither a folder nor an id like "owner/name".
    """
    folder = Path(model).expanduser()
    if folder.is_dir() and (model != MINIATURE):
        if not (folder / "model_index.json").is_file():
            raise ModelError(f"{model} is not a diffusers model folder: it has no model_index.json")
    elif folder.is_file():
        raise ModelError(f"{model} is a file; give the folder of a diffusers model, a hub id or {MINIATURE!r}")
    elif model != MINIATURE and not _HUB_ID.fullmatch(model):
        raise ModelError(f"{model!r} is neither a folder, nor a hub id such as {KNOWN_MODELS[1].id}, nor {MINIATURE!r}")
    if revision is not None and (model == MINIATURE or folder.is_dir()):
        raise ModelError(f"revision {revision!r} is for hub models; {model} has none")


@naming_extra("load_model")
def load_model(model: str = MINIATURE, revision: str | None = None, device: str = "auto", dtype: str = "auto") -> Any:
    """A stock diffusers pipeline, on its device.

    Args:
        model: "miniature", a local diffusers folder or a hub id.
        revision: branch, tag or commit of a hub model.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", ...
        dtype: "float32", "float16", "bfloat16", "mixed-bfloat16" (the denoiser bfloat16, all else float32), or "auto":
            bfloat16 (or float16) on a GPU, mixed-bfloat16 on a CPU with AMX, float32 on others.

    Raises:
        ModelError: as `check_model`; or the model cannot be loaded (no network, no safetensors, damaged files).
        ArgumentError: an unknown dtype or a device that is not there.
    """
    from diffusers import DiffusionPipeline

    from .precision import DTYPES, MIXED, cast_at_border, loading_dtype, usual_dtype

    check_model(model, revision)
    where = _device(device)
    if dtype not in DTYPES:
        raise ArgumentError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if dtype == "auto":
        dtype, _ = usual_dtype(where)
    try:
        if model == MINIATURE:
            from .miniature import load

            pipe = load(dtype=loading_dtype(dtype), device=where)
        else:
            folder = Path(model).expanduser()
            local = {"local_files_only": True} if folder.is_dir() else {"revision": revision}
            name = str(folder) if folder.is_dir() else model
            pipe = DiffusionPipeline.from_pretrained(name, dtype=loading_dtype(dtype), use_safetensors=True, **local)
            pipe = pipe.to(where)
        return cast_at_border(pipe) if dtype == MIXED else pipe
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot load {model}: {error}") from error


def _device(name: str) -> Any:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ArgumentError(f"{name!r} is not a device; try cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ArgumentError(f"device {name} was asked for, but torch sees no GPU; use --device cpu")
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ArgumentError(f"device {name} cannot be used here ({reason}); try cpu or cuda") from error
    return device

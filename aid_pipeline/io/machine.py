"""Machine and library versions: what decides a sequence's last bits besides its arguments."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import torch

from aid_kernels.interpolated_attention.tuning.machine import processor
from aid_kernels.interpolated_attention.tuning.targets import gpu_name

LIBRARIES = ("torch", "diffusers", "transformers", "triton", "numpy", "scipy", "pillow")


def versions() -> dict[str, str]:
    """Versions of Python, this package and the libraries that decide the frames' bits."""
    from aid_kernels import __version__

    known = {"python": platform.python_version(), "aid-kernels": __version__}
    for name in LIBRARIES:
        try:
            known[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            known[name] = "not installed"
    return known


def machine(device: torch.device) -> dict[str, Any]:
    """The operating system, the processor and its threads, the device and its CUDA libraries."""
    known: dict[str, Any] = {
        "platform": platform.platform(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "device": str(device),
    }
    if device.type == "cuda":
        known["gpu"] = gpu_name(device)
        known["cuda"] = torch.version.cuda
        known["cudnn"] = torch.backends.cudnn.version()
    return known

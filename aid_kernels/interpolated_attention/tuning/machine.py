"""Identity of a measurement: device, driver, libraries and a digest of the code that was timed."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ...constants import EXPERIMENTAL_VARIABLE

_OPERATOR = Path(__file__).parents[1]
# what decides how fast and how exact a candidate is
_TIMED = ("impl/**/*.py", "tuning/tile_sizes.py", "layout.py")
_NVIDIA, _AMD = Path("/proc/driver/nvidia/version"), Path("/sys/module/amdgpu/version")


def identity(device: str) -> dict[str, Any]:
    """What a measurement holds for: a change of any of it means measuring anew.

    Args:
        device: a GPU's name, or "cpu".
    """
    known: dict[str, Any] = {"device": processor() if device == "cpu" else device}
    if device == "cpu":
        known |= {"threads": torch.get_num_threads()}
    else:
        known |= {"driver": driver(), "cuda": torch.version.cuda, "hip": torch.version.hip}
    # what was measured beside them is not for a process without them
    known |= {"experimental": True} if experimental() else {}
    return known | {"torch": str(torch.__version__), "triton": triton_release(), "code": code_digest()}


def experimental() -> bool:
    """Whether kernels that no GPU has run yet are allowed."""
    return os.environ.get(EXPERIMENTAL_VARIABLE, "") == "1"


@functools.cache
def code_digest() -> str:
    """SHA-256 of the sources of all implementations and of the tables of tiles."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _TIMED for path in _OPERATOR.glob(pattern)):
        digest.update(f"{path.relative_to(_OPERATOR).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def driver() -> str:
    """The GPU driver's version, as far as the system tells."""
    with suppress(OSError):
        found = re.search(r"Kernel Module\D*(\d+\.[\d.]+)", _NVIDIA.read_text())
        if found:
            return found[1]
    with suppress(OSError):
        return f"amdgpu {_AMD.read_text().strip()}"
    with suppress(AttributeError, RuntimeError):
        return f"CUDA {torch._C._cuda_getDriverVersion()}"  # type: ignore[attr-defined]
    return "unknown"


@functools.cache
def triton_release() -> str:
    """The installed Triton's version, without importing it."""
    for name in ("triton", "pytorch-triton", "pytorch-triton-rocm", "triton-windows", "pytorch-triton-xpu"):
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "not installed"


@functools.cache
def processor() -> str:
    """The CPU's model, where the system tells."""
    with suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(errors="replace"), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()

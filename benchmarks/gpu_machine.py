"""What a GPU result was measured on."""

from __future__ import annotations

import shutil
import subprocess

import torch

from benchmarks import machine

SMOKE_NAME = "smoke"


def gpu_name(device: torch.device) -> str:
    """As configurations and results go by; a smoke run's stands for none."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else SMOKE_NAME


def describe(device: torch.device, commit: str | None = None) -> dict[str, str]:
    """`machine.describe()` and the GPU's name, memory, driver, CUDA, cuDNN and Triton.

    Args:
        commit: what the code is at, where git cannot tell.
    """
    found = machine.describe()
    if commit:
        found["commit"] = commit
    found |= {"gpu": gpu_name(device), "triton": _triton_version()}
    if device.type != "cuda":
        return found
    properties = torch.cuda.get_device_properties(device)
    return found | {
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": str(properties.multi_processor_count),
        "memory_gib": f"{properties.total_memory / 2**30:.0f}",
        "l2_mib": f"{properties.L2_cache_size / 2**20:.0f}",
        "driver": _driver(),
        "cuda": str(torch.version.cuda or torch.version.hip),
        "cudnn": str(torch.backends.cudnn.version()),
    }


def _triton_version() -> str:
    try:
        import triton
    except ModuleNotFoundError:
        return "not installed"
    return str(triton.__version__)


def _driver() -> str:
    if shutil.which("nvidia-smi") is None:
        return "unknown"
    call = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    found = subprocess.run(call, capture_output=True, text=True, check=False)
    return found.stdout.split("\n")[0].strip() or "unknown"

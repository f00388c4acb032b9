"""Machine of a result: processor, GPU, load, versions and commit, without which a figure says nothing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import torch

from aid_kernels.interpolated_attention.tuning.machine import processor
from aid_kernels.interpolated_attention.tuning.targets import gpu_name

ROOT = Path(__file__).resolve().parents[2]
SMOKE_NAME = "smoke"


def describe() -> dict[str, str]:
    """Processor, threads, priority, operating system, versions and commit, "+changes" where code is not committed."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "scheduling": _scheduling(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit_of(ROOT),
    }


def result_name(device: torch.device) -> str:
    """The GPU that configurations and results go by; a smoke run's stands for none."""
    return gpu_name(device) or SMOKE_NAME


def describe_gpu(device: torch.device, commit: str | None = None) -> dict[str, str]:
    """`describe()` and the GPU's name, memory, driver, CUDA, cuDNN and Triton.

    Args:
        commit: what the code is at, where git cannot tell.
    """
    found = describe()
    if commit:
        found["commit"] = commit
    found |= {"gpu": result_name(device), "triton": _triton_version()}
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


def line(machine: dict[str, str]) -> str:
    """One sentence for a heading."""
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads ({machine['scheduling']}), "
        f"{machine['system']}, "
        f"Python {machine['python']}, torch {machine['torch']}, commit {machine['commit']}"
    )


def _processor() -> str:
    """Name and instruction set that torch uses; the name alone is vague on virtual machines."""
    return f"{processor()} ({torch.backends.cpu.get_cpu_capability()})"


def _scheduling() -> str:
    """Whether other work could disturb the times: the load, and whether it had to yield."""
    first = hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)
    return f"{'real-time priority' if first else 'ordinary priority'} at load {os.getloadavg()[0]:.1f}"


def commit_of(root: Path) -> str:
    """Of a checkout, "+changes" where code is not committed; "unknown" where git cannot tell."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--", "aid_kernels", "aid_pipeline/*.py", "benchmarks/*.py")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+changes" if changed else "")


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

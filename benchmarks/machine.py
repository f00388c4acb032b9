"""What a result was measured on: without it a figure says nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent


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
        "commit": _commit(),
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
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [row.split(":", 1)[1].strip() for row in info.read_text().splitlines() if row.startswith("model name")]
        name = names[0] if names else name
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def _scheduling() -> str:
    """Whether other work could disturb the times: the load, and whether it had to yield."""
    first = hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)
    return f"{'real-time priority' if first else 'ordinary priority'} at load {os.getloadavg()[0]:.1f}"


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--", "aid_kernels", "aid_pipeline/*.py", "benchmarks/*.py")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+changes" if changed else "")

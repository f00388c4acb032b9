"""What the kernel can serve, told without importing Triton."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import sys
from pathlib import Path

import torch
from torch import Tensor

from ....plan import InterpolationPlan
from ...tuning.static import INTERPRETER, TARGETS

MINIMUM_VERSION = (3, 6)
INTERPRET_VARIABLE = "TRITON_INTERPRET"
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def refusals(mode: str, query: Tensor, key: Tensor, plan: InterpolationPlan, bank: tuple[Tensor, Tensor]) -> list[str]:
    """Every reason why the kernel cannot serve these inputs; empty if it can."""
    reasons = _package_refusals()
    if query.dtype not in DTYPES:
        reasons.append(f"{query.dtype} inputs; the kernel takes float16, bfloat16 and float32")
    reasons += _device_refusals(query.device)
    return reasons


def target_of(device: torch.device) -> str:
    """The name that configurations go by: "sm_90", "gfx942", "interpreter", or another device's own name."""
    if device.type == "cpu":
        return INTERPRETER
    if device.type != "cuda":
        return device.type
    return _gpu(device.index if device.index is not None else torch.cuda.current_device())


def interpreting() -> bool:
    """Whether Triton would interpret kernels that are defined now."""
    return os.environ.get(INTERPRET_VARIABLE, "0").lower() in ("1", "true", "on", "yes", "y")


@functools.cache
def _gpu(index: int) -> str:
    if torch.version.hip:
        return str(torch.cuda.get_device_properties(index).gcnArchName).split(":")[0]
    return "sm_{}{}".format(*torch.cuda.get_device_capability(index))


def _package_refusals() -> list[str]:
    version = _triton_version()
    if version is None:
        return ["triton is not installed; it comes with torch on Linux, or: pip install 'triton>=3.6'"]
    if version < MINIMUM_VERSION:
        found, wanted = (".".join(map(str, pair)) for pair in (version, MINIMUM_VERSION))
        return [f"triton {found} is too old, {wanted} or later is needed"]
    return []


@functools.cache
def _triton_version() -> tuple[int, int] | None:
    """(major, minor), read from the package's source: its distribution has several names, and importing it is slow."""
    spec = importlib.util.find_spec("triton")
    if spec is None or spec.origin is None:
        return None
    found = re.search(r"__version__ = ['\"](\d+)\.(\d+)", Path(spec.origin).read_text(encoding="utf-8"))
    return (int(found[1]), int(found[2])) if found else None


def _device_refusals(device: torch.device) -> list[str]:
    if device.type == "cpu":
        if not interpreting():
            return [
                f"CPU tensors; the kernel runs on GPUs, and on CPU tensors only in tests, under {INTERPRET_VARIABLE}=1"
            ]
        return _changed_refusals()
    if device.type != "cuda":
        return [f"{device.type} tensors; the kernel runs on NVIDIA and AMD GPUs"]
    if interpreting():
        return [f"{INTERPRET_VARIABLE}=1 is set, which is for CPU tensors; unset it for GPU tensors"]
    target = target_of(device)
    if target not in TARGETS:
        return [f"no configuration for {target}; known are {', '.join(TARGETS)}"]
    return _changed_refusals()


def _changed_refusals() -> list[str]:
    """Triton decides when a kernel is defined; a later change of the variable would be ignored."""
    kernel = sys.modules.get(f"{__package__}.forward")
    if kernel is None or interpreting() == kernel.INTERPRETED:
        return []
    return [f"{INTERPRET_VARIABLE} changed after the kernel was first used; set it before"]

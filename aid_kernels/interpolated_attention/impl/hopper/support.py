"""Inputs that the Hopper kernel can serve, told without importing Triton."""

from __future__ import annotations

import os
import re

import torch
from torch import Tensor

from ....constants import EXPERIMENTAL_VARIABLE, INTERPRET_VARIABLE
from ...inputs import AttentionInputs
from ...tuning.machine import experimental, triton_release
from ...tuning.targets import target_of

TARGET = "sm_90"
MINIMUM_VERSION = (3, 6)
DTYPES = (torch.float16, torch.bfloat16)
HEAD_DIMS = (64, 128)
MOST_SOURCES = 2
# what a descriptor of the TMA unit wants of addresses and strides
ALIGNMENT = 16


def unsupported_reasons(mode: str, inputs: AttentionInputs, needs_grad: bool) -> list[str]:
    """Every reason why the kernel cannot serve these inputs; empty if it can."""
    query = inputs.query
    reasons = []
    if not experimental():
        reasons.append(f"no GPU has run it yet; {EXPERIMENTAL_VARIABLE}=1 allows it")
    reasons += _package_reasons() + _device_reasons(query.device)
    if mode != "outer":
        reasons.append(f"{mode} attention; it serves outer attention alone")
    if query.dtype not in DTYPES:
        reasons.append(f"{query.dtype} inputs; it takes float16 and bfloat16")
    if query.shape[3] not in HEAD_DIMS:
        reasons.append(f"head_dim {query.shape[3]}; it takes {' and '.join(map(str, HEAD_DIMS))}")
    if inputs.masked:
        reasons.append("a mask is given")
    if inputs.plan.num_sources > MOST_SOURCES:
        reasons.append(f"{inputs.plan.num_sources} sources a row; it takes {MOST_SOURCES} at most")
    if inputs.scale <= 0:
        reasons.append(f"scale {inputs.scale}; it takes scales above 0")
    if needs_grad:
        reasons.append("an input requires grad, which the kernel does not serve; use sdpa, or torch.no_grad()")
    return reasons + _view_reasons(inputs)


def _package_reasons() -> list[str]:
    release = triton_release()
    found = re.match(r"(\d+)\.(\d+)", release)
    if found is None:
        return ["triton is not installed; it comes with torch on Linux, or: pip install 'triton>=3.6'"]
    if (int(found[1]), int(found[2])) < MINIMUM_VERSION:
        return [f"triton {release} is too old, {'.'.join(map(str, MINIMUM_VERSION))} or later is needed"]
    return []


def _device_reasons(device: torch.device) -> list[str]:
    if device.type != "cuda":
        return [f"{device.type} tensors; the kernel runs on Hopper GPUs ({TARGET})"]
    if os.environ.get(INTERPRET_VARIABLE, "0").lower() in ("1", "true", "on", "yes", "y"):
        return [f"{INTERPRET_VARIABLE}=1 is set, and the kernel cannot be interpreted"]
    target = target_of(device)
    return [] if target == TARGET else [f"the GPU is {target}; the kernel is for Hopper ({TARGET})"]


def _view_reasons(inputs: AttentionInputs) -> list[str]:
    """What a tensor descriptor cannot say of these views."""
    found: dict[str, list[str]] = {}
    for name in ("query", "key", "value", "bank_key", "bank_value"):
        fault = _fault(getattr(inputs, name))
        if fault is not None:
            found.setdefault(fault, []).append(name)
    return [f"{', '.join(names)}: {fault}" for fault, names in found.items()]


def _fault(view: Tensor) -> str | None:
    steps = [step for step, size in zip(view.stride()[:3], view.shape[:3], strict=True) if size > 1]
    if not view.numel():
        return "nothing in it"
    if any(step * view.itemsize % ALIGNMENT for step in steps) or view.data_ptr() % ALIGNMENT:
        return f"not aligned to {ALIGNMENT} bytes, which the TMA unit asks for"
    return "expanded, which the TMA unit does not take; a copy is not" if 0 in steps else None

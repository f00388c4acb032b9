"""Inputs that the kernels can serve, told without importing Triton."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import sys
from pathlib import Path

import torch

from ....constants import INTERPRET_VARIABLE
from ...biases import differs_by_query
from ...inputs import AttentionInputs
from ...tuning.targets import target_of
from ...tuning.tile_sizes import LERP_BLOCK, TARGETS, configure

MINIMUM_VERSION = (3, 6)
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def unsupported_reasons(inputs: AttentionInputs, needs_grad: bool) -> list[str]:
    """Every reason why the kernels cannot serve these inputs; empty if they can."""
    reasons = _package_reasons()
    if inputs.query.dtype not in DTYPES:
        reasons.append(f"{inputs.query.dtype} inputs; the kernel takes float16, bfloat16 and float32")
    reasons += _device_reasons(inputs.query.device) + _grid_reasons(inputs)
    for name, mask in (("key_mask", inputs.key_mask), ("bank_mask", inputs.bank_mask)):
        if differs_by_query(mask):
            reasons.append(f"{name} has a query axis; the kernel takes masks of keys, (rows, keys) bool")
    if needs_grad:
        reasons.append("an input requires grad, which the kernel does not serve; use sdpa, or torch.no_grad()")
    return reasons


def interpreting() -> bool:
    """Whether Triton would interpret kernels that are defined now."""
    return os.environ.get(INTERPRET_VARIABLE, "0").lower() in ("1", "true", "on", "yes", "y")


def _package_reasons() -> list[str]:
    version = triton_version()
    if version is None:
        return ["triton is not installed; it comes with torch on Linux, or: pip install 'triton>=3.6'"]
    if version < MINIMUM_VERSION:
        found, wanted = (".".join(map(str, pair)) for pair in (version, MINIMUM_VERSION))
        return [f"triton {found} is too old, {wanted} or later is needed"]
    return []


@functools.cache
def triton_version() -> tuple[int, int] | None:
    """(major, minor), read from the package's source: its distribution has several names, and importing it is slow."""
    try:
        spec = importlib.util.find_spec("triton")
    except ValueError:  # a bare module of that name, put into sys.modules by another library
        return None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    found = re.search(r"__version__ = ['\"](\d+)\.(\d+)", Path(spec.origin).read_text(encoding="utf-8"))
    return (int(found[1]), int(found[2])) if found else None


def _device_reasons(device: torch.device) -> list[str]:
    if device.type == "cpu":
        if not interpreting():
            return [
                f"CPU tensors; the kernel runs on GPUs, and on CPU tensors only in tests, under {INTERPRET_VARIABLE}=1"
            ]
        return _changed_reasons()
    if device.type != "cuda":
        return [f"{device.type} tensors; the kernel runs on NVIDIA and AMD GPUs"]
    if interpreting():
        return [f"{INTERPRET_VARIABLE}=1 is set, which is for CPU tensors; unset it for GPU tensors"]
    target = target_of(device)
    if target not in TARGETS:
        return [f"no configuration for {target}; known are {', '.join(TARGETS)}"]
    return _changed_reasons()


def _grid_reasons(inputs: AttentionInputs) -> list[str]:
    """A launch is one axis of programs: 2^31 - 1 of them at most, and on AMD below 2^32 threads."""
    query = inputs.query
    if query.device.type != "cuda" or interpreting() or (target := target_of(query.device)) not in TARGETS:
        return []
    batch, heads, length, head_dim = query.shape
    keys = max(inputs.key.shape[2], inputs.bank_key.shape[2])
    # more slices with many sources than with few; either mode may be asked for
    fitted = [
        configure(
            target,
            query.dtype.itemsize,
            head_dim,
            many=True,
            masked=inputs.masked,
            inner=inner,
            queries=length,
            keys=keys,
        )
        for inner in (False, True)
    ]
    attending = max(-(-length // one.tiles.block_m) * one.tiles.slices for one in fitted)
    mixing = -(-inputs.bank_key.shape[2] // LERP_BLOCK)
    programs = batch * heads * max(attending, mixing)
    warps = max(one.num_warps for one in fitted)
    limit = 2**31 - 1 if target.startswith("sm_") else (2**32 - 1) // (64 * warps)
    if programs <= limit:
        return []
    return [f"{programs} programs would be launched, and {target} takes {limit}; split the batch"]


def _changed_reasons() -> list[str]:
    """Triton decides when a kernel is defined; a later change of the variable would be ignored."""
    kernel = sys.modules.get(f"{__package__}.forward")
    if kernel is None or interpreting() == kernel.INTERPRETED:
        return []
    return [f"{INTERPRET_VARIABLE} changed after the kernel was first used; set it before"]

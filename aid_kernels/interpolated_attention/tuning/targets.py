"""Names of devices: the target whose tiles a kernel takes, and the GPU whose tuned configurations are looked up."""

from __future__ import annotations

import functools

import torch

from .tile_sizes import INTERPRETER


def target_of(device: torch.device) -> str:
    """The name that static configurations go by: "sm_90", "gfx942", "interpreter", or another device's own name."""
    if device.type == "cpu":
        return INTERPRETER
    if device.type != "cuda":
        return device.type
    return _gpu(device.index if device.index is not None else torch.cuda.current_device())


def gpu_name(device: torch.device) -> str | None:
    """The name that a GPU's file of tuned configurations goes by; None for other devices."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


@functools.cache
def _gpu(index: int) -> str:
    if torch.version.hip:
        return str(torch.cuda.get_device_properties(index).gcnArchName).split(":")[0]
    return "sm_{}{}".format(*torch.cuda.get_device_capability(index))

"""Images that a stock call is given beside its prompts: one for all frames, or one for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError

IMAGES = ("image", "mask_image", "control_image", "control_mask")


def image_inputs(call: Mapping[str, Any]) -> list[str]:
    """Names of the images among a stock call's arguments."""
    return [name for name in IMAGES if call.get(name) is not None]


def image_for_each_frame(call: Mapping[str, Any], num_frames: int) -> dict[str, Any]:
    """The images among a stock call's arguments, once for each frame.

    Args:
        call: arguments of the stock call. An image is a PIL image, or a tensor or array with or without a batch
            dimension; a list is one image for each frame, or for each of several ControlNets or adapters.

    Raises:
        ArgumentError: a batch of any other size.
    """
    return {name: _repeated(name, call[name], num_frames) for name in image_inputs(call)}


def _repeated(name: str, value: Any, num_frames: int) -> Any:
    if isinstance(value, list | tuple):
        if len(value) == num_frames:
            return value
        each = [_repeated(name, image, num_frames) for image in value]
        return each[0] if len(each) == 1 else each
    if not hasattr(value, "ndim"):
        return [value] * num_frames
    batch = value if value.ndim == 4 else value[None]
    if len(batch) not in (1, num_frames):
        raise ArgumentError(f"{name} must be one image, or one for each of the {num_frames} frames; got {len(batch)}")
    if len(batch) == num_frames:
        return value
    return torch.cat([batch] * num_frames) if isinstance(batch, Tensor) else batch.repeat(num_frames, axis=0)

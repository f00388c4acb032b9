"""Images and clips that a video pipeline is given beside its prompts: one for all frames, or one for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError

IMAGES = ("image", "last_image", "ref_image")
CLIPS = ("video", "control_video", "control_camera_video", "conditioning_frames", "mask_video", "mask", "controls")


def visual_inputs(call: Mapping[str, Any]) -> list[str]:
    """Names of the images and clips among a stock call's arguments."""
    return [name for name in (*IMAGES, *CLIPS) if call.get(name) is not None]


def for_each_frame(call: Mapping[str, Any], num_frames: int) -> dict[str, Any]:
    """The images and clips among a stock call's arguments, once for each frame.

    Raises:
        ArgumentError: a batch of several, which are no frames'.
    """
    return {name: _repeated(name, call[name], num_frames) for name in visual_inputs(call)}


def _repeated(name: str, value: Any, num_frames: int) -> Any:
    single = 3 if name in IMAGES else 4  # dimensions of one, without those of a batch
    if isinstance(value, list | tuple):
        if name in CLIPS and not isinstance(value[0], list | tuple):
            return [list(value)] * num_frames  # a clip as its images
        _check_one(name, len(value), num_frames)
        return list(value) * num_frames if len(value) == 1 else value
    if not hasattr(value, "ndim"):
        return [value] * num_frames
    batch = value if value.ndim > single else value[None]
    _check_one(name, len(batch), num_frames)
    if len(batch) != 1:
        return value
    tensors = isinstance(batch, Tensor)
    return torch.cat([batch] * num_frames) if tensors else batch.repeat(num_frames, axis=0)


def _check_one(name: str, count: int, num_frames: int) -> None:
    if count not in (1, num_frames):
        raise ArgumentError(f"{name} must be one, or one for each of the {num_frames} frames; got {count}")

"""Outputs of stock calls: one image or clip a frame, by whatever name the pipeline hands them out."""

from __future__ import annotations

from typing import Any

from ..errors import UnsupportedPipelineError

NAMES = ("images", "frames")


def frames_of(output: Any) -> Any:
    """The images or clips of a stock call's output, in the order of its prompts.

    Raises:
        UnsupportedPipelineError: an output with neither.
    """
    for name in NAMES:
        if hasattr(output, name):
            return getattr(output, name)
    raise UnsupportedPipelineError(f"the stock call returns a {type(output).__name__}, which holds no images or clips")


def images_of(array: Any, output_type: str) -> Any:
    """An array (m, H, W, 3) in [0, 1] as the stock image processor hands it out for an output type."""
    from diffusers.image_processor import VaeImageProcessor

    if output_type == "pt":
        return VaeImageProcessor.numpy_to_pt(array)
    return VaeImageProcessor.numpy_to_pil(array) if output_type == "pil" else array

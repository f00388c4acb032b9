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

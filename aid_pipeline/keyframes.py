"""Keyframes of a sequence: what its given frames show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Keyframe:
    """One given frame of a sequence; the first and the last frame of a sequence are keyframes.

    Args:
        prompt: text of the frame.
    """

    prompt: str

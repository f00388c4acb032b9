"""The miniature: a real text-to-image model small enough to ship, its training scenes, and how it was trained.

``MODEL_PATH`` is an ordinary diffusers folder; ``load()`` is ``StableDiffusionPipeline.from_pretrained`` with the
files checked first. The room imports no other room.
"""

from __future__ import annotations

from .weights import MODEL_PATH, check, load

__all__ = ["MODEL_PATH", "check", "load"]

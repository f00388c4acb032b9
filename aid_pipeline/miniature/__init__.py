"""A real text-to-image model in miniature: trained weights, the world they were trained on, and how they were trained.

``MODEL_PATH`` is an ordinary diffusers folder; ``load()`` is ``StableDiffusionPipeline.from_pretrained`` with the
files checked first.
"""

from __future__ import annotations

from .weights import MODEL_PATH, check, load

__all__ = ["MODEL_PATH", "check", "load"]

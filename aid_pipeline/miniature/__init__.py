"""The miniature: a real text-to-image model small enough to ship, its training scenes, and how it was trained.

``MODEL_PATH`` is an ordinary diffusers folder; ``load()``, in `weights`, is ``DiffusionPipeline.from_pretrained`` with
the files checked first. `components` are its untrained parts, configured by ``architecture/``; `train` and `training`
make them from `scenes`, `evaluate` measures them with `generate` and `attribute_classifier`, and writes the `card`.
Imports `config`, `extras` and `atomic_files`.
"""

from __future__ import annotations

from .weights import MODEL_PATH, check, load

__all__ = ["MODEL_PATH", "check", "load"]

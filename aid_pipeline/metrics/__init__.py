"""Metrics of a sequence: distances between images, smoothness and consistency of steps, fidelity, CLIP scores.

`distances` between images are those that selection and reports measure with; `step_distances` are those of a
sequence. `fidelity` compares `features`, `clip` images with prompts; `intervals` go with every figure,
`presets` bundle them. `frame_folder` reads frames, `images` and `preprocessing` turn them into tensors. Every figure
carries the name of the distance or features behind it. Names are imported when first used. Imports `io`, `miniature`,
`errors` and `extras`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..extras import from_home

if TYPE_CHECKING:
    from .clip import Clip
    from .features import Features, features
    from .fidelity import Fidelity, fid, fidelity, kid
    from .frame_folder import FrameSet, read_frames
    from .images import cross_fade
    from .intervals import Estimate, bootstrap_mean
    from .presets import Instruments, preset
    from .step_distances import StepMeasures, consistency, smoothness, step_measures

_HOMES = {
    "Clip": "clip",
    "Estimate": "intervals",
    "Features": "features",
    "Fidelity": "fidelity",
    "FrameSet": "frame_folder",
    "Instruments": "presets",
    "StepMeasures": "step_distances",
    "bootstrap_mean": "intervals",
    "consistency": "step_distances",
    "cross_fade": "images",
    "features": "features",
    "fid": "fidelity",
    "fidelity": "fidelity",
    "kid": "fidelity",
    "preset": "presets",
    "read_frames": "frame_folder",
    "smoothness": "step_distances",
    "step_measures": "step_distances",
}

__all__ = [
    "Clip",
    "Estimate",
    "Features",
    "Fidelity",
    "FrameSet",
    "Instruments",
    "StepMeasures",
    "bootstrap_mean",
    "consistency",
    "cross_fade",
    "features",
    "fid",
    "fidelity",
    "kid",
    "preset",
    "read_frames",
    "smoothness",
    "step_measures",
]


def __getattr__(name: str) -> Any:
    return from_home(__name__, name, _HOMES)

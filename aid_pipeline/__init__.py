"""Sequences between two prompts on stock diffusers pipelines, by attention interpolation.

`interpolation` generates a sequence from the arguments in `spec`, which may end in what `inversion` makes of images;
`request` adds the model and the device; `sequence`
is the result. The folders: `attention` works inside one denoiser call, `conditioning` is what a call is given,
`sampling` the stock call, `selection` the choice of coefficients, `metrics` the distances between frames, `io` the
files, `studies` what the paper measures, `miniature` the small model, `cli` the command. Small files that many rooms
share: `families` (an entry for each kind of pipeline), `models`, `config`, `coefficients`, `keyframes`, `precision`
(dtypes), `errors`, `extras` (packages that are not installed) and `atomic_files`. Imports between them go one way;
``python -m tools.rooms`` prints it. Names are imported when first used, so that ``aid --help`` answers without loading
torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .extras import from_home

if TYPE_CHECKING:
    from .attention.apply import AIDHandle, aid, apply_aid
    from .attention.frames import Frames
    from .coefficients import BetaPrior
    from .config import AIDConfig
    from .errors import AIDError, FrameWarning
    from .interpolation import interpolate
    from .inversion import invert
    from .keyframes import Inversion, Keyframe
    from .models import load_model
    from .selection import Selection
    from .sequence import Sequence

__all__ = [
    "AIDConfig",
    "AIDError",
    "AIDHandle",
    "BetaPrior",
    "FrameWarning",
    "Frames",
    "Inversion",
    "Keyframe",
    "Selection",
    "Sequence",
    "aid",
    "apply_aid",
    "interpolate",
    "invert",
    "load_model",
]

_HOMES = {
    "AIDConfig": "config",
    "AIDError": "errors",
    "AIDHandle": "attention.apply",
    "BetaPrior": "coefficients",
    "FrameWarning": "errors",
    "Frames": "attention.frames",
    "Inversion": "keyframes",
    "Keyframe": "keyframes",
    "Selection": "selection",
    "Sequence": "sequence",
    "aid": "attention.apply",
    "apply_aid": "attention.apply",
    "interpolate": "interpolation",
    "invert": "inversion",
    "load_model": "models",
}


def __getattr__(name: str) -> Any:
    return from_home(__name__, name, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

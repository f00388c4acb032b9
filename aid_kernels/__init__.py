"""Interpolated attention for all frames of a sequence in one batched pass. Importing it needs torch alone.

Rooms, from the top down; each may import those below it: `demo` and `doctor`, `interpolated_attention` (the operator),
`plan` (who attends to whom), `constants` and `version`.
"""

from .constants import (
    AUTO_VARIABLE,
    CACHE_DIR_VARIABLE,
    CONFIG_DIR_VARIABLE,
    EXPERIMENTAL_VARIABLE,
    HEAD_DIM_STEP,
    IMPL_VARIABLE,
    IMPLEMENTATIONS,
    INTERPRET_VARIABLE,
    MAX_HEAD_DIM,
    MODES,
)
from .interpolated_attention import (
    CallBucket,
    Choice,
    Explanation,
    choices_from_json,
    choices_to_json,
    explain,
    inner_attention,
    measured_here,
    outer_attention,
    recorded_choices,
)
from .plan import InterpolationPlan
from .version import __version__

__all__ = [
    "AUTO_VARIABLE",
    "CACHE_DIR_VARIABLE",
    "CONFIG_DIR_VARIABLE",
    "EXPERIMENTAL_VARIABLE",
    "HEAD_DIM_STEP",
    "IMPLEMENTATIONS",
    "IMPL_VARIABLE",
    "INTERPRET_VARIABLE",
    "MAX_HEAD_DIM",
    "MODES",
    "CallBucket",
    "Choice",
    "Explanation",
    "InterpolationPlan",
    "__version__",
    "choices_from_json",
    "choices_to_json",
    "explain",
    "inner_attention",
    "measured_here",
    "outer_attention",
    "recorded_choices",
]

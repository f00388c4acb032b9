"""Interpolated attention: one op, outer and inner, in three implementations behind one contract; see README.md here.

A call goes down: `api` (the public functions; `checks` makes the `inputs`), `ops` (what torch compiles), `dispatch`
(selects an implementation; `auto` by measurement, `running` calls it) and `gradients`, `impl` (the implementations,
which read tensors by their `layout`, without what is `hidden` by a mask; those with a query axis are `biases`),
`tuning` (tile sizes, and how candidates are measured). Each imports what stands below it; nothing here knows
diffusers. Imports `plan` and `constants`.
"""

from .api import explain, inner_attention, outer_attention
from .auto import measured_here
from .dispatch import Explanation
from .tuning.choice import CallBucket, Choice
from .tuning.recording import choices_from_json, choices_to_json, recorded_choices

__all__ = [
    "CallBucket",
    "Choice",
    "Explanation",
    "choices_from_json",
    "choices_to_json",
    "explain",
    "inner_attention",
    "measured_here",
    "outer_attention",
    "recorded_choices",
]

"""Routes of `sdpa` by shape: a fixed rule from measurements, so that bits do not depend on a timing.

Merged (`impl/sdpa.py`): two segments attended to apart and merged by log-sum-exp; J + 1 units of work, and partial
results to write and read. Concatenated (`impl/sdpa_concatenated.py`): 2 J units and nothing to merge.

On the CPU the two differ by at most a third, by lengths alone, and their bits differ: a choice timed in the
first call would give a sequence other bits on every run of a loaded machine. So a rule decides, and only `aid doctor`,
asked for by the user, replaces it by what it measured.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..inputs import AttentionInputs

# keys of a segment up to which they are concatenated: benchmarks/results/cpu/operator.md, 77 keys
FEW_KEYS = 80
# fewer queries than that, and joining the keys costs as much as it saves
MANY_QUERIES = 512
# more sources are 2 J units against J + 1: the more, the less there is to save
MOST_SOURCES = 2

# the CPU's op takes up to twice as long where keys are no multiple of 16, and padding costs a bias: it pays up to here
KEY_MULTIPLE = 16
MOST_PADDED_KEYS = 160
LEAST_PADDED_QUERIES = 256


def sdpa_route(mode: str, inputs: AttentionInputs) -> str:
    """The route that serves a call where nothing was measured: "merged" or "concatenated".

    Reads the lengths and the device, never how many rows there are: chunks take the same route.
    """
    query = inputs.query
    if query.device.type != "cpu" or not offers_routes(mode, inputs.masked, inputs.fuse_self):
        return "merged"
    keys = max(inputs.key.shape[2], inputs.bank_key.shape[2])
    many = query.shape[2] >= MANY_QUERIES
    few = 0 < keys <= FEW_KEYS and inputs.plan.num_sources <= MOST_SOURCES
    return "concatenated" if many and few else "merged"


def offers_routes(mode: str, masked: bool, fuse_self: bool) -> bool:
    """Whether there is a choice: inner and unfused calls have nothing to merge, and masks are left to one route."""
    return mode == "outer" and fuse_self and not masked


def padded_length(query: Tensor, keys: int) -> int:
    """How long a segment of `keys` joined keys without a mask is made: zeros behind it weigh nothing."""
    pays = 0 < keys <= MOST_PADDED_KEYS and query.shape[2] >= LEAST_PADDED_QUERIES
    if query.device.type != "cpu" or query.dtype == torch.float64 or not pays:
        return keys
    return -(-keys // KEY_MULTIPLE) * KEY_MULTIPLE

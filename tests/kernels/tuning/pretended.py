"""Ways in which a candidate on the pretended GPU of `benchmarks.pretended_gpu` may misbehave."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.pretended_gpu import Behaviour, Machine, arguments, honest, install

__all__ = ["Behaviour", "Machine", "arguments", "honest", "install"]


def lies(compute: Callable[[], Tensor]) -> Tensor:
    return compute() + 0.01


def lies_late(compute: Callable[[], Tensor]) -> Tensor:
    """The last query of the last row and head alone is wrong."""
    out = compute()
    out[-1, -1, -1] += 0.5
    return out


def leaves_out(compute: Callable[[], Tensor]) -> Tensor:
    """A place outside of every sampled block is never written."""
    computed = compute()
    out = torch.empty_like(computed)
    out.copy_(computed)
    out[0, 0, 20] = torch.empty(computed.shape[3])
    return out


def crashes(compute: Callable[[], Tensor]) -> Tensor:
    raise RuntimeError("the kernel does not compile: too many registers")


def exhausts(compute: Callable[[], Tensor]) -> Tensor:
    raise torch.OutOfMemoryError("tried to allocate 80 GiB")

"""Data parallel training: the same stages under ``torchrun --nproc-per-node N``, each worker with a share of the batch.

On CPUs one worker of one thread per core beats one worker of many threads, and bears other load far better.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def start() -> None:
    """Joins the group torchrun started; alone, does nothing. Worker 0 speaks for all: the others do not write."""
    if number() > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")


def number() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def in_turn(work: Callable[[], T]) -> T:
    """The first worker does ``work``, then the others: they find what it has put on disk."""
    if number() == 1:
        return work()
    found = [work()] if rank() == 0 else []
    dist.barrier()
    return found[0] if found else work()


def share(batch: int) -> int:
    """This worker's part of ``batch``. Raises ValueError if it does not divide."""
    if batch % number():
        raise ValueError(f"batch {batch} does not divide among {number()} workers: give a multiple")
    return batch // number()


def mean(tensors: list[Tensor]) -> None:
    """Replaces ``tensors`` (fp32) by their means over the workers, in one exchange."""
    if number() == 1:
        return
    flat = torch.cat([t.reshape(-1) for t in tensors])
    dist.all_reduce(flat)
    flat /= number()
    for old, new in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        old.copy_(new.view_as(old))

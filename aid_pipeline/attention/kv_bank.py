"""The endpoints' keys and values, kept per attention layer for one step, so that frames in other runs can read them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aid_kernels import Explanation


@dataclass
class Entry:
    """Keys, values (E, H, Sk, D) and visible keys (E, Sk) of the endpoints, for one attention call of one layer."""

    key: Tensor
    value: Tensor
    mask: Tensor | None


@dataclass
class Layer:
    """One attention layer: its bank for the current step, and what served it.

    Attributes:
        name: of the module in the denoiser.
        calls: attention calls since the layer was entered; an IP-Adapter layer makes several.
        saved: the endpoints' entry of each of those calls, of the current run of the denoiser.
        bank: likewise, of all runs in this step so far.
        served: implementation and reason of each of those calls, as first seen, for the report.
    """

    name: str
    calls: int = 0
    saved: list[Entry] = field(default_factory=list)
    bank: list[Entry] = field(default_factory=list)
    served: list[Explanation] = field(default_factory=list)


def collect(layers: Iterable[Layer]) -> None:
    """Move what a run saved into the banks, behind the endpoints of earlier runs."""
    for layer in layers:
        layer.bank = (
            [_join(old, new) for old, new in zip(layer.bank, layer.saved, strict=True)] if layer.bank else layer.saved
        )
        layer.saved = []


def clear(layers: Iterable[Layer]) -> None:
    """Forget this step's keys and values."""
    for layer in layers:
        layer.saved, layer.bank = [], []


def bank_bytes(layers: Iterable[Layer]) -> int:
    """Memory the banks hold on to."""
    return sum(part.nbytes for layer in layers for entry in layer.bank for part in (entry.key, entry.value))


def _join(old: Entry, new: Entry) -> Entry:
    mask = None if old.mask is None or new.mask is None else torch.cat([old.mask, new.mask])
    return Entry(torch.cat([old.key, new.key]), torch.cat([old.value, new.value]), mask)

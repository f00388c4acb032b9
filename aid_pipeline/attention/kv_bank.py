"""Bank of the endpoints' keys and values, kept per attention layer for one step and read by the step's later chunks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from aid_kernels import Explanation

from ..errors import RowsError


@dataclass
class EndpointKV:
    """Keys, values (E, H, Sk, D) and mask (`masks.operator_mask`) of the endpoints, for one call of a layer."""

    key: Tensor
    value: Tensor
    mask: Tensor | None

    def to(self, device: torch.device) -> EndpointKV:
        """The same on a device."""
        mask = None if self.mask is None else self.mask.to(device)
        return EndpointKV(self.key.to(device), self.value.to(device), mask)


@dataclass
class LayerCache:
    """Endpoints' keys and values of one attention layer, for the current step, and what ran its calls.

    Attributes:
        name: of the module in the denoiser.
        calls: attention calls since the layer was entered; an IP-Adapter layer makes several.
        saved: the endpoints' keys and values of each of those calls, from the current chunk.
        bank: likewise, from all chunks of this step so far.
        served: implementation and reason of each of those calls, as first seen, for the report.
        plain: why calls of this layer were left plain, if any were, for the report.
    """

    name: str
    calls: int = 0
    saved: list[EndpointKV] = field(default_factory=list)
    bank: list[EndpointKV] = field(default_factory=list)
    served: list[Explanation] = field(default_factory=list)
    plain: str | None = None

    def enter(self) -> None:
        """The layer's processor starts."""
        self.calls = 0
        self.saved = []

    def save(self, key: Tensor, value: Tensor, mask: Tensor | None, rows: int) -> None:
        """Save the first rows of a call's keys and values as the endpoints'."""
        # copies: a view would keep the keys and values of all rows of this chunk, or all of a fused projection
        saved_mask = None if mask is None else mask[:rows].clone()
        self.saved.append(EndpointKV(key[:rows].clone(), value[:rows].clone(), saved_mask))

    def leave_plain(self, why: str) -> None:
        """A call of this layer is left to stock attention."""
        if not torch.compiler.is_compiling():
            self.plain = why

    def load(self, call: int) -> EndpointKV:
        """The endpoints' keys and values of an attention call.

        Raises:
            RowsError: earlier chunks made no such call.
        """
        if call >= len(self.bank):
            raise RowsError(
                f"layer {self.name} has no endpoint keys and values for attention call {call}; the run that left them "
                "had it plain. Runs that share their endpoints must start with one that interpolates it"
            )
        return self.bank[call]


def collect(layers: Iterable[LayerCache]) -> None:
    """Move what a chunk saved into the banks, behind the endpoints of earlier chunks."""
    for layer in layers:
        layer.bank = (
            [_join(old, new) for old, new in zip(layer.bank, layer.saved, strict=True)] if layer.bank else layer.saved
        )
        layer.saved = []


def clear(layers: Iterable[LayerCache]) -> None:
    """Forget this step's keys and values."""
    for layer in layers:
        layer.saved, layer.bank = [], []


def bank_bytes(layers: Iterable[LayerCache]) -> int:
    """Memory that the banks hold on to."""
    entries = [entry for layer in layers for entry in layer.bank]
    masks = sum(entry.mask.nbytes for entry in entries if entry.mask is not None and entry.mask.ndim == 4)
    return masks + sum(part.nbytes for entry in entries for part in (entry.key, entry.value))


def _join(old: EndpointKV, new: EndpointKV) -> EndpointKV:
    """Both; the shorter one of texts of different lengths is padded with keys that nobody sees."""
    length = max(old.key.shape[2], new.key.shape[2])
    old, new = (_padded(entry, length) for entry in (old, new))
    if (old.mask is None) != (new.mask is None):
        old, new = (_with_mask(entry) for entry in (old, new))
    mask = None if old.mask is None or new.mask is None else torch.cat([old.mask, new.mask])
    return EndpointKV(torch.cat([old.key, new.key]), torch.cat([old.value, new.value]), mask)


def _padded(entry: EndpointKV, length: int) -> EndpointKV:
    missing = length - entry.key.shape[2]
    if not missing:
        return entry
    mask = _with_mask(entry).mask
    assert mask is not None
    key, value = (pad(part, (0, 0, 0, missing)) for part in (entry.key, entry.value))
    hidden = 0.0 if mask.dtype == torch.bool else -torch.inf
    return EndpointKV(key, value, pad(mask, (0, missing), value=hidden))


def _with_mask(entry: EndpointKV) -> EndpointKV:
    if entry.mask is not None:
        return entry
    visible = torch.ones(entry.key.shape[0], entry.key.shape[2], dtype=torch.bool, device=entry.key.device)
    return EndpointKV(entry.key, entry.value, visible)

"""Cache of the endpoints' outputs and K/V, reused by later calls.

Endpoints never depend on interior frames. Their outputs and, where interpolation is on, their keys and values are
those of the first call of the pipeline in every later one, whatever frames that one is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import RowsError
from .batching import take_output_rows
from .kv_bank import EndpointKV, LayerCache

GPU_SHARE = 0.25
"""Share of the free GPU memory that banks may take; the rest waits in host memory and is copied for its step."""


@dataclass(frozen=True)
class _CachedCall:
    """One denoiser call: rows of its endpoints and, in each attention layer, their bank."""

    output: Any
    banks: list[list[EndpointKV]]


class EndpointCache:
    """Filled by the first pipeline call that is given it, then read by all others.

    All those calls must be of one sequence: equal endpoints, settings and steps; only interior frames may differ.

    Attributes:
        filled: whether it is there to be read.
    """

    def __init__(self) -> None:
        self.filled = False
        self._calls: list[_CachedCall | None] = []
        self._bytes = 0
        self._limit: int | None = None

    def clear(self) -> None:
        """Forget a run that ended before its end."""
        self.filled = False
        self._calls, self._bytes = [], 0

    def store(self, output: Any, rows: Sequence[int], layers: Sequence[LayerCache]) -> None:
        """Add a denoiser call: `rows` of its output, its endpoints, and the layers' banks; without rows, nothing."""
        if not rows:
            self._calls.append(None)
            return
        banks = [[self._placed(entry) for entry in layer.bank] for layer in layers]
        self._calls.append(_CachedCall(take_output_rows(output, rows), banks))

    def load(self, call: int, layers: Sequence[LayerCache], device: torch.device) -> Any:
        """Outputs of the endpoints' rows in the call of this number, after their banks are put into the layers.

        Raises:
            RowsError: the calls differ from those that filled this.
        """
        cached = self._calls[call] if call < len(self._calls) else None
        if cached is None:
            raise RowsError(
                f"denoiser call {call} of this run has endpoint rows that no earlier run had; runs that share their "
                "endpoints must make the same calls"
            )
        for layer, bank in zip(layers, cached.banks, strict=True):
            layer.bank = [entry.to(device) for entry in bank]
        return cached.output

    def _placed(self, entry: EndpointKV) -> EndpointKV:
        device = entry.key.device
        if device.type == "cuda":
            if self._limit is None:
                self._limit = int(GPU_SHARE * torch.cuda.mem_get_info(device)[0])
            self._bytes += entry.key.nbytes + entry.value.nbytes
            if self._bytes > self._limit:
                return entry.to(torch.device("cpu"))
        return entry

"""What a sequence's endpoints left behind in every denoiser call, so that more frames between them do without them.

Endpoints never depend on the frames between. Their outputs and, where interpolation is on, their keys and values are
those of the first call of the pipeline in every later one, whatever frames that one is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import RowsError
from .chunking import output_rows
from .kv_bank import Entry, Layer

GPU_SHARE = 0.25
"""Share of the free GPU memory that banks may take; the rest waits in host memory and is copied for its step."""


@dataclass(frozen=True)
class _Call:
    """One denoiser call: rows of its endpoints and, in each attention layer, their bank."""

    output: Any
    banks: list[list[Entry]]


class EndpointMemory:
    """Filled by the first pipeline call that is given it, then read by all others.

    All those calls must be of one sequence: equal ends, settings and steps; only what lies between may differ.

    Attributes:
        filled: whether it is there to be read.
    """

    def __init__(self) -> None:
        self.filled = False
        self._calls: list[_Call | None] = []
        self._bytes = 0
        self._limit: int | None = None

    def keep(self, output: Any, rows: Sequence[int], layers: Sequence[Layer]) -> None:
        """Note what a call's endpoints left: `rows` of its output, and the layers' banks. No rows: nothing to note."""
        if not rows:
            self._calls.append(None)
            return
        banks = [[self._placed(entry) for entry in layer.bank] for layer in layers]
        self._calls.append(_Call(output_rows(output, rows), banks))

    def recall(self, call: int, rows: Sequence[int], layers: Sequence[Layer], device: torch.device) -> Any:
        """Outputs of the endpoints' rows in the call of this number, after their banks are put into the layers.

        Raises:
            RowsError: the calls differ from those that filled this.
        """
        kept = self._calls[call] if call < len(self._calls) else None
        if kept is None:
            raise RowsError(
                f"denoiser call {call} of this run has endpoint rows that no earlier run had; runs that share their "
                "endpoints must make the same calls"
            )
        for layer, bank in zip(layers, kept.banks, strict=True):
            layer.bank = [_moved(entry, device) for entry in bank]
        return kept.output

    def _placed(self, entry: Entry) -> Entry:
        device = entry.key.device
        if device.type == "cuda":
            if self._limit is None:
                self._limit = int(GPU_SHARE * torch.cuda.mem_get_info(device)[0])
            self._bytes += entry.key.nbytes + entry.value.nbytes
            if self._bytes > self._limit:
                return _moved(entry, torch.device("cpu"))
        return entry


def _moved(entry: Entry, device: torch.device) -> Entry:
    mask = None if entry.mask is None else entry.mask.to(device)
    return Entry(entry.key.to(device), entry.value.to(device), mask)

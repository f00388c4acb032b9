"""The interpolation plan of a batch: sources and weights of every row, on the host and on the device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import construction
from .validation import validated
from .values import as_tensor, device_of, indices, integer, integers

_ROWS_SHOWN = 12


class Term(NamedTuple):
    """One source of a row: its slot in the plan, the bank entry it names, and its weight, which is not zero."""

    slot: int
    source: int
    weight: float


@dataclass(frozen=True, eq=False, repr=False)
class InterpolationPlan:
    """Sources and weights of every row of a batch; built and validated once, then only read.

    A row whose weights are all zero is plain attention (endpoints, unconditional rows, other requests' rows). The
    weights of any other row sum to 1 and mix the attention to (outer), or the keys and values of (inner), its sources.
    Paper: arXiv 2403.17924, section 4, as restated by equations (1)-(4) of `interpolated_attention/README.md`.

    Args:
        sources: (B, J) integers >= 0, indices into the bank of keys and values (by default the batch itself).
        weights: (B, J) floats in [0, 1]; every row sums to 0 or, within 1e-4, to 1.

    Attributes:
        sources: int32 (B, J) on the plan's device.
        weights: float32 (B, J) on the plan's device.
        host_sources, host_weights: the same two on the CPU, so that no op ever waits for a GPU to read them.
        schedule: int32 (B + 1,) on the plan's device: the rows, those with most sources first, then how many have any.
        bank_size: fewest entries a bank must have for these indices.

    Raises:
        TypeError: sources are not integers, or weights are not floating point.
        ValueError: wrong rank or shape, different devices, a negative index, NaN, a weight outside [0, 1], a bad sum.
    """

    sources: Tensor
    weights: Tensor
    host_sources: Tensor = field(init=False)
    host_weights: Tensor = field(init=False)
    schedule: Tensor = field(init=False)
    bank_size: int = field(init=False)

    def __post_init__(self) -> None:
        # ordinary tensors even in inference mode, so that a plan serves calls that need gradients too
        with torch.inference_mode(False):
            sources, weights = as_tensor(self.sources, "sources"), as_tensor(self.weights, "weights")
            host_sources, host_weights = validated(sources, weights)
            active = (host_weights != 0).sum(dim=1)
            schedule = torch.cat([active.argsort(descending=True, stable=True), (active > 0).sum().reshape(1)])
            device = weights.device
            parts = host_sources.to(device), host_weights.to(device), schedule.to(torch.int32).to(device)
            self._store(*parts, host_sources, host_weights)

    # -- constructors ------------------------------------------------------------------------------------------------

    @classmethod
    def sequence(cls, coefficients: Any, *, device: torch.device | str | None = None) -> InterpolationPlan:
        """m frames between two endpoints: rows 0 and m - 1 are plain, row i mixes them by (1 - t_i, t_i).

        Args:
            coefficients: (m,) t_i in [0, 1], the first 0 and the last 1 (paper, section 3: t_1 = 0, t_m = 1).
            device: where the plan lives; default: where `coefficients` are.

        Raises:
            ValueError: fewer than 2 coefficients, wrong rank, NaN, outside [0, 1], or ends other than 0 and 1.
        """
        return cls._built(*construction.sequence(coefficients), coefficients, device)

    @classmethod
    def keyframes(
        cls,
        coefficients: Any,
        frames_per_key: int | Sequence[int] | None = None,
        *,
        device: torch.device | str | None = None,
    ) -> InterpolationPlan:
        """A chain A -> B -> C ...: every keyframe is plain, the rows between two keyframes mix those two.

        Args:
            coefficients: (m,) without `frames_per_key`: the position along the chain, 0 for A, 1 for B, 1.25 a quarter
                of the way from B to C, never decreasing, with every whole number from 0 to the last present (those rows
                are the keyframes). With it: the coefficient within its leg, 0 on each keyframe and 1 on the last row.
            frames_per_key: rows from one keyframe up to, not including, the next; one number, or one per leg.
            device: where the plan lives; default: where `coefficients` are.

        Raises:
            ValueError: as `sequence`, a missing keyframe, a decreasing position, or counts that do not add up to m - 1.
        """
        return cls._built(*construction.keyframes(coefficients, frames_per_key), coefficients, device)

    @classmethod
    def barycentric(
        cls,
        weights: Any,
        *,
        endpoints: Sequence[int] | None = None,
        device: torch.device | str | None = None,
    ) -> InterpolationPlan:
        """Any number of endpoints and any grid or simplex between them (the paper's equations, sums over J endpoints).

        Args:
            weights: (m, J), each row the share of every endpoint, summing to 1.
            endpoints: the J rows that are the endpoints; default: for each endpoint the first row that is wholly it.
                Endpoint rows are plain.
            device: where the plan lives; default: where `weights` are.

        Raises:
            ValueError: wrong rank, NaN, rows that do not sum to 1, or an endpoint without a row.
        """
        return cls._built(*construction.barycentric(weights, endpoints), weights, device)

    @classmethod
    def plain(cls, rows: int, *, device: torch.device | str | None = None) -> InterpolationPlan:
        """`rows` rows of ordinary attention, on the CPU where no device is named.

        Raises:
            TypeError, ValueError: not a whole number from 0 to 2^31 - 1.
        """
        if not 0 <= integer(rows, "rows") < 2**31:
            raise ValueError(f"rows must be >= 0 and below 2^31, got {rows}")
        sources = torch.zeros((rows, 0), dtype=torch.int32, device="cpu")
        return cls._built(sources, sources.to(torch.float32), None, device)

    @classmethod
    def concat(cls, plans: Sequence[InterpolationPlan]) -> InterpolationPlan:
        """One batch of several: rows stacked, each plan's indices shifted by the rows before it.

        Plans with fewer sources are padded with weight zero, which costs nothing.

        Raises:
            TypeError: not a list of plans.
            ValueError: no plans, plans on different devices, or a plan that points outside its own rows.
        """
        if isinstance(plans, InterpolationPlan) or not isinstance(plans, Iterable):
            raise TypeError(f"concat needs a list of plans, got {type(plans).__name__}")
        plans = list(plans)
        wrong = [type(plan).__name__ for plan in plans if not isinstance(plan, InterpolationPlan)]
        if wrong:
            raise TypeError(f"concat needs plans alone, got {', '.join(wrong)} among them")
        if not plans:
            raise ValueError("concat needs at least one plan, got none")
        devices = {plan.device for plan in plans}
        if len(devices) > 1:
            raise ValueError(
                f"plans to concatenate must share a device, got {sorted(map(str, devices))}; use plan.to(device)"
            )
        for index, plan in enumerate(plans):
            if plan.bank_size > len(plan):
                raise ValueError(
                    f"plan {index} reads bank entry {plan.bank_size - 1} but has {len(plan)} rows; a plan made for a "
                    "separate bank cannot be concatenated"
                )
        sources, weights = construction.stacked([(plan.host_sources, plan.host_weights) for plan in plans])
        return cls(sources, weights).to(plans[0].device)

    # -- derived plans -----------------------------------------------------------------------------------------------

    def select(self, rows: Sequence[int] | slice | Tensor, bank: Sequence[int] | None = None) -> InterpolationPlan:
        """The plan of some rows only, for chunks and reordered batches.

        Args:
            rows: indices (no mask) or a slice; the new row r is the old row rows[r].
            bank: which old bank entries the chunk's bank holds, in its order: sources are renumbered to it. Default:
                the bank stays what it was and sources keep their numbers.

        Raises:
            TypeError: `rows` or `bank` are not integers.
            IndexError: a row out of range.
            ValueError: a source with a non-zero weight that `bank` does not hold.
        """
        index = indices(rows, len(self))
        wrong = [row for row in index if not -len(self) <= row < len(self)]
        if wrong:
            raise IndexError(f"row(s) {wrong} are outside this plan of {len(self)} rows")
        picked = torch.tensor(index, dtype=torch.long, device="cpu")
        sources, weights = self.host_sources[picked], self.host_weights[picked]
        if bank is not None:
            bank = integers(bank, "bank")
            position = {entry: place for place, entry in reversed(list(enumerate(bank)))}
            needed = set(sources[weights != 0].tolist())
            if not needed <= position.keys():
                raise ValueError(f"bank {bank} lacks source(s) {sorted(needed - position.keys())} of the selected rows")
            renumbered = [[position.get(source, 0) for source in row] for row in sources.tolist()]
            sources = torch.tensor(renumbered, dtype=torch.int32, device="cpu").reshape(sources.shape)
        return InterpolationPlan(sources, weights).to(self.device)

    def off(self) -> InterpolationPlan:
        """The same shapes and sources with all weights zero: plain attention without a recompilation."""
        return InterpolationPlan(self.host_sources, torch.zeros_like(self.host_weights)).to(self.device)

    def to(self, device: torch.device | str) -> InterpolationPlan:
        """This plan on another device; itself if it is there already.

        Raises:
            TypeError, ValueError: no device of torch's here.
        """
        device = device_of(device)
        with torch.inference_mode(False):
            sources = self.sources.to(device)
            if sources is self.sources:
                return self
            parts = sources, self.weights.to(device), self.schedule.to(device), self.host_sources, self.host_weights
        return InterpolationPlan.from_tensors(parts)

    # -- crossing the border of a torch op -----------------------------------------------------------------------------

    def tensors(self) -> list[Tensor]:
        """All that a plan consists of, for `from_tensors`: torch ops take tensors, not plans."""
        return [self.sources, self.weights, self.schedule, self.host_sources, self.host_weights]

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor]) -> InterpolationPlan:
        """The plan again whose `tensors` these are; they are not validated anew."""
        plan = object.__new__(cls)
        plan._store(*tensors)
        return plan

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return self.weights.device

    @property
    def num_sources(self) -> int:
        """J, the number of source slots of a row."""
        return self.weights.shape[1]

    @property
    def num_interpolated(self) -> int:
        """How many rows are not plain."""
        return int((self.host_weights != 0).any(dim=1).sum())

    def host_terms(self) -> list[list[Term]]:
        """Every row's terms of non-zero weight, by slot; none for a plain row. Never synchronises with a GPU."""
        rows = zip(self.host_sources.tolist(), self.host_weights.tolist(), strict=True)
        return [
            [Term(slot, sources[slot], weight) for slot, weight in enumerate(weights) if weight]
            for sources, weights in rows
        ]

    def __len__(self) -> int:
        return self.weights.shape[0]

    def __repr__(self) -> str:
        title = (
            f"InterpolationPlan({len(self)} rows, {self.num_interpolated} interpolated, "
            f"{self.num_sources} sources each, bank >= {self.bank_size}, {self.device})"
        )
        lines = []
        for row, terms in enumerate(self.host_terms()):
            if row == _ROWS_SHOWN:
                lines.append(f"  ... {len(self) - row} more rows")
                break
            mixed = " + ".join(f"{weight:.4g} x [{source}]" for _, source, weight in terms)
            lines.append(f"  row {row}: {mixed or 'plain'}")
        return "\n".join([title, *lines])

    @classmethod
    def _built(
        cls, sources: Tensor, weights: Tensor, given: Any, device: torch.device | str | None
    ) -> InterpolationPlan:
        """A plan on `device`; by default where the values are that it was built from."""
        if device is None:
            device = given.device if isinstance(given, Tensor) else "cpu"
        return cls(sources, weights).to(device)

    def _store(
        self, sources: Tensor, weights: Tensor, schedule: Tensor, host_sources: Tensor, host_weights: Tensor
    ) -> None:
        bank_size = 1 + max(chain.from_iterable(host_sources.tolist()), default=-1)
        # past the frozen dataclass's own __setattr__
        vars(self).update(
            sources=sources,
            weights=weights,
            schedule=schedule,
            host_sources=host_sources,
            host_weights=host_weights,
            bank_size=bank_size,
        )

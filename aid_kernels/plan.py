"""Who attends to whom: the per-row sources and weights of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

SUM_TOLERANCE = 1e-4
_ROWS_SHOWN = 12


@dataclass(frozen=True, eq=False, repr=False)
class InterpolationPlan:
    """Sources and weights of every row of a batch; built and validated once, then only read.

    A row whose weights are all zero is plain attention (endpoints, unconditional rows, other people's rows). The
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
        sources, weights = torch.as_tensor(self.sources), torch.as_tensor(self.weights)
        host_sources, host_weights = _validated(sources, weights)
        device = weights.device
        active = (host_weights != 0).sum(dim=1)
        schedule = torch.cat([active.argsort(descending=True, stable=True), (active > 0).sum().reshape(1)])
        store = {
            "host_sources": host_sources,
            "host_weights": host_weights,
            "sources": host_sources.to(device),
            "weights": host_weights.to(device),
            "schedule": schedule.to(torch.int32).to(device),
            "bank_size": int(host_sources.max()) + 1 if host_sources.numel() else 0,
        }
        for name, value in store.items():
            object.__setattr__(self, name, value)

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
        t, device = _coefficients(coefficients, device)
        _check_unit_interval(t, "coefficients")
        if t[0] != 0 or t[-1] != 1:
            raise ValueError(
                f"coefficients must start at 0 and end at 1, got {t[0].item():g} and {t[-1].item():g}; "
                "put the two endpoints' rows first and last"
            )
        return cls._chain(t, [0, t.numel() - 1], device)

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
        t, device = _coefficients(coefficients, device)
        position = t if frames_per_key is None else _chain_positions(t, frames_per_key)
        if position[0] != 0 or (position.diff() < 0).any():
            raise ValueError(f"keyframe positions must start at 0 and never decrease, got {position.tolist()}")
        rows = [(position == key).nonzero() for key in range(int(position[-1].floor()) + 1)]
        if position[-1] != len(rows) - 1 or len(rows) < 2 or not all(len(row) for row in rows):
            raise ValueError(
                f"every keyframe 0, 1, ... needs a row at that whole position, and the last row must be one; "
                f"got {position.tolist()}"
            )
        return cls._chain(position, [int(row[0]) for row in rows], device)

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
        device = device if device is not None else getattr(weights, "device", None)
        w = torch.as_tensor(weights).detach().to("cpu", torch.float64)
        if w.ndim != 2 or w.shape[1] < 1:
            raise ValueError(f"barycentric weights must be (m, J) with J >= 1, got shape {tuple(w.shape)}")
        if not ((w.sum(dim=1) - 1).abs() <= SUM_TOLERANCE).all():
            raise ValueError(f"every row of barycentric weights must sum to 1, got sums {w.sum(dim=1).tolist()}")
        if endpoints is None:
            found = [(w[:, j] == 1).nonzero() for j in range(w.shape[1])]
            missing = [j for j, rows in enumerate(found) if not len(rows)]
            if missing:
                raise ValueError(f"no row has weight 1 on endpoint(s) {missing}; add such rows or pass endpoints=[...]")
            endpoints = [int(rows[0]) for rows in found]
        elif len(endpoints) != w.shape[1] or not all(0 <= row < w.shape[0] for row in endpoints):
            raise ValueError(f"endpoints must be {w.shape[1]} rows in [0, {w.shape[0]}), got {list(endpoints)}")
        sources = torch.tensor([list(endpoints)] * w.shape[0]).reshape(w.shape)
        w[list(endpoints)] = 0
        return cls(sources.to(device or "cpu"), w.to(torch.float32).to(device or "cpu"))

    @classmethod
    def plain(cls, rows: int, *, device: torch.device | str | None = None) -> InterpolationPlan:
        """`rows` rows of ordinary attention."""
        if rows < 0:
            raise ValueError(f"rows must be >= 0, got {rows}")
        shape = (rows, 0)
        return cls(torch.zeros(shape, dtype=torch.int32, device=device), torch.zeros(shape, device=device))

    @classmethod
    def concat(cls, plans: Sequence[InterpolationPlan]) -> InterpolationPlan:
        """One batch of several: rows stacked, each plan's indices shifted by the rows before it.

        Plans with fewer sources are padded with weight zero, which costs nothing.

        Raises:
            ValueError: no plans, plans on different devices, or a plan that points outside its own rows.
        """
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
        width = max(plan.num_sources for plan in plans)
        rows = sum(len(plan) for plan in plans)
        sources, weights = torch.zeros(rows, width, dtype=torch.int32), torch.zeros(rows, width)
        start = 0
        for plan in plans:
            stop = start + len(plan)
            sources[start:stop] = start
            sources[start:stop, : plan.num_sources] += plan.host_sources
            weights[start:stop, : plan.num_sources] = plan.host_weights
            start = stop
        return cls(sources, weights).to(plans[0].device)

    # -- derived plans -----------------------------------------------------------------------------------------------

    def select(self, rows: Sequence[int] | slice | Tensor, bank: Sequence[int] | None = None) -> InterpolationPlan:
        """The plan of some rows only, for chunks and reordered batches.

        Args:
            rows: indices or a slice; the new row r is the old row rows[r].
            bank: which old bank entries the chunk's bank holds, in its order: sources are renumbered to it. Default:
                the bank stays what it was and sources keep their numbers.

        Raises:
            IndexError: a row out of range.
            ValueError: a source with a non-zero weight that `bank` does not hold.
        """
        index = list(range(len(self)))[rows] if isinstance(rows, slice) else [int(row) for row in rows]
        wrong = [row for row in index if not -len(self) <= row < len(self)]
        if wrong:
            raise IndexError(f"row(s) {wrong} are outside this plan of {len(self)} rows")
        picked = torch.tensor(index, dtype=torch.long)
        sources, weights = self.host_sources[picked], self.host_weights[picked]
        if bank is not None:
            position = {int(entry): place for place, entry in reversed(list(enumerate(bank)))}
            needed = set(sources[weights != 0].tolist())
            if not needed <= position.keys():
                raise ValueError(
                    f"bank {list(bank)} lacks source(s) {sorted(needed - position.keys())} of the selected rows"
                )
            renumbered = [[position.get(source, 0) for source in row] for row in sources.tolist()]
            sources = torch.tensor(renumbered, dtype=torch.int32).reshape(sources.shape)
        return InterpolationPlan(sources, weights).to(self.device)

    def off(self) -> InterpolationPlan:
        """The same shapes and sources with all weights zero: plain attention without a recompilation."""
        return InterpolationPlan(self.host_sources, torch.zeros_like(self.host_weights)).to(self.device)

    def to(self, device: torch.device | str) -> InterpolationPlan:
        """This plan on another device; itself if it is there already."""
        sources = self.sources.to(device)
        if sources is self.sources:
            return self
        return InterpolationPlan.trusted(
            sources,
            self.weights.to(device),
            self.schedule.to(device),
            self.host_sources,
            self.host_weights,
            self.bank_size,
        )

    @classmethod
    def trusted(
        cls,
        sources: Tensor,
        weights: Tensor,
        schedule: Tensor,
        host_sources: Tensor,
        host_weights: Tensor,
        bank_size: int,
    ) -> InterpolationPlan:
        """Put a plan together again from its own parts, without validating them anew."""
        plan = object.__new__(cls)
        parts = dict(sources=sources, weights=weights, schedule=schedule, bank_size=bank_size)
        for name, value in {**parts, "host_sources": host_sources, "host_weights": host_weights}.items():
            object.__setattr__(plan, name, value)
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

    def __len__(self) -> int:
        return self.weights.shape[0]

    def __repr__(self) -> str:
        title = (
            f"InterpolationPlan({len(self)} rows, {self.num_interpolated} interpolated, "
            f"{self.num_sources} sources each, bank >= {self.bank_size}, {self.device})"
        )
        lines = []
        for row, (sources, weights) in enumerate(
            zip(self.host_sources.tolist(), self.host_weights.tolist(), strict=True)
        ):
            if row == _ROWS_SHOWN:
                lines.append(f"  ... {len(self) - row} more rows")
                break
            terms = [f"{weight:.4g} x [{source}]" for source, weight in zip(sources, weights, strict=True) if weight]
            lines.append(f"  row {row}: {' + '.join(terms) or 'plain'}")
        return "\n".join([title, *lines])

    @classmethod
    def _chain(cls, position: Tensor, keys: list[int], device: torch.device | str) -> InterpolationPlan:
        """Rows at `position` along keyframes that stand in rows `keys`; those rows are plain."""
        leg = position.floor().clamp(max=len(keys) - 2).long()
        t = position - leg
        ends = torch.tensor(keys)
        sources = torch.stack([ends[leg], ends[leg + 1]], dim=1)
        weights = torch.stack([1 - t, t], dim=1)
        weights[keys] = 0
        return cls(sources.to(device), weights.to(torch.float32).to(device))


def _validated(sources: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """int32 and float32 copies on the CPU of a valid pair; raises as the class says."""
    if sources.dtype.is_floating_point or sources.dtype.is_complex or sources.dtype == torch.bool:
        raise TypeError(f"sources must be integers, got {sources.dtype}")
    if not weights.dtype.is_floating_point:
        raise TypeError(f"weights must be floating point, got {weights.dtype}")
    if sources.ndim != 2 or sources.shape != weights.shape:
        raise ValueError(
            f"sources and weights must both be (rows, sources per row), got {tuple(sources.shape)} "
            f"and {tuple(weights.shape)}"
        )
    if sources.device != weights.device:
        raise ValueError(f"sources are on {sources.device} but weights on {weights.device}; put both on one device")
    host_sources = sources.detach().to("cpu", torch.int64)
    exact = weights.detach().to("cpu", torch.float64)
    for row, (indices, shares) in enumerate(zip(host_sources.tolist(), exact.tolist(), strict=True)):
        if any(share != share for share in shares):
            raise ValueError(f"weights of row {row} hold NaN: {shares}")
        if any(not 0 <= share <= 1 for share in shares):
            raise ValueError(f"weights of row {row} must lie in [0, 1], got {shares}")
        if any(shares) and abs(sum(shares) - 1) > SUM_TOLERANCE:
            raise ValueError(
                f"weights of row {row} sum to {sum(shares):g}; they must sum to 1, or all be 0 for a plain row"
            )
        if any(not 0 <= index < 2**31 for index in indices):
            raise ValueError(f"sources of row {row} must be bank indices >= 0, got {indices}")
    # clone: the plan must not change when its caller's tensors do
    return host_sources.to(torch.int32).clone(), exact.to(torch.float32).clone()


def _coefficients(values: Any, device: torch.device | str | None) -> tuple[Tensor, torch.device | str]:
    """(m,) float64 on the CPU and the device to build on."""
    device = device if device is not None else getattr(values, "device", "cpu")
    t = torch.as_tensor(values).detach().to("cpu", torch.float64)
    if t.ndim != 1 or t.numel() < 2:
        raise ValueError(f"coefficients must be (m,) with m >= 2, got shape {tuple(t.shape)}")
    if not t.isfinite().all():
        raise ValueError(f"coefficients must be finite, got {t.tolist()}")
    return t, device


def _check_unit_interval(t: Tensor, name: str) -> None:
    if ((t < 0) | (t > 1)).any():
        raise ValueError(f"{name} must lie in [0, 1], got {t.tolist()}")


def _chain_positions(t: Tensor, frames_per_key: int | Sequence[int]) -> Tensor:
    """Positions along the chain from coefficients within each leg."""
    _check_unit_interval(t, "coefficients within a leg")
    legs = t.numel() - 1
    if isinstance(frames_per_key, int):
        if frames_per_key < 1 or legs % frames_per_key:
            raise ValueError(f"{legs} rows before the last keyframe do not divide into legs of {frames_per_key}")
        counts = [frames_per_key] * (legs // frames_per_key)
    else:
        counts = [int(count) for count in frames_per_key]
        if any(count < 1 for count in counts) or sum(counts) != legs:
            raise ValueError(
                f"frames_per_key {counts} must be positive and add up to {legs}, the rows before the last keyframe"
            )
    starts = torch.tensor([sum(counts[:leg]) for leg in range(len(counts))])
    if (t[starts] != 0).any() or t[-1] != 1 or (t[:-1] == 1).any():
        raise ValueError(f"a leg must start at coefficient 0, and the last row alone must be 1; got {t.tolist()}")
    leg = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)).to(t.dtype)
    return torch.cat([leg + t[:-1], torch.tensor([float(len(counts))], dtype=t.dtype)])

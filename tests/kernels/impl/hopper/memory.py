"""Shared memory and barriers of a pretended multiprocessor: what each holds and which use of it is at fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


class ScheduleError(AssertionError):
    """The kernel's schedule is wrong."""


@dataclass(eq=False)
class Barrier:
    """An mbarrier: a phase ends when all arrivals and all announced bytes are in."""

    count: int = 0
    pending: int = 0
    awaited: int = 0  # bytes
    phase: int = 0
    visible: bool = False
    carried: set[int] = field(default_factory=set)  # events of this phase
    told: set[int] = field(default_factory=set)  # of all phases that ended

    def arrive(self, count: int, expected: int, known: set[int]) -> None:
        if not self.visible:
            raise ScheduleError("a barrier is used before a fence made its start visible")
        if count > self.pending:
            raise ScheduleError("a barrier got more arrivals than it was made for")
        self.pending -= count
        self.awaited += expected
        self.carried |= known
        self.turn()

    def complete(self, count: int, event: int) -> None:
        self.awaited -= count
        self.carried.add(event)
        self.turn()

    def turn(self) -> None:
        if self.pending == 0 and self.awaited == 0:
            self.phase ^= 1
            self.pending = self.count
            self.told |= self.carried
            self.carried = set()


@dataclass(eq=False)
class Tile:
    """One buffer of shared memory; NaN until something is written."""

    data: Tensor
    machine: Any = None  # the multiprocessor that it is of
    readers: int = 0
    copying: int = 0
    dirty: bool = False
    written: int | None = None  # the event of the last write
    reads: set[int] = field(default_factory=set)  # those of it

    def check_written(self, known: set[int]) -> None:
        if not self.reads <= known:
            raise ScheduleError("a buffer is overwritten by who has not waited for its readers")
        if self.readers:
            raise ScheduleError("a buffer is overwritten while a product still reads it")
        if self.copying:
            raise ScheduleError("a buffer is overwritten while a copy into it is under way")

    def check_read(self, known: set[int]) -> None:
        if self.written not in known:
            raise ScheduleError("a buffer is read by who has not waited for what is in it")
        if self.copying:
            raise ScheduleError("a buffer is read while a copy into it is under way")


@dataclass
class Memory:
    """An allocation: one tile, or barrier, for each index of the first dimension."""

    items: list[Any]

    def index(self, place: Any) -> Any:
        item = self.items[int(place)]
        return item if isinstance(item, Barrier) else View(item, lambda data: data)


@dataclass
class View:
    """A tile seen in another shape."""

    tile: Tile
    shown: Callable[[Tensor], Tensor]

    def reshape(self, shape: list[int]) -> View:
        return View(self.tile, lambda data: self.shown(data).reshape(shape))

    def permute(self, order: tuple[int, ...]) -> View:
        return View(self.tile, lambda data: self.shown(data).permute(order))

    def read(self) -> Tensor:
        return self.shown(self.tile.data)

    def store(self, value: Tensor) -> None:
        self.tile.machine.store(self.tile, value)


@dataclass(eq=False)
class Product:
    """A matrix product under way; computed as late as its wait allows."""

    left: Any
    right: View
    total: Tensor
    value: Tensor | None = None

    def views(self) -> list[View]:
        return [operand for operand in (self.left, self.right) if isinstance(operand, View)]

    def compute(self) -> None:
        left = self.left.read() if isinstance(self.left, View) else self.left
        self.value = self.total + left.float() @ self.right.read().float()
        for view in self.views():
            view.tile.readers -= 1

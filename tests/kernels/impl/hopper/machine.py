"""Pretended multiprocessor: barriers, shared memory, copies and matrix products that finish late and in any order.

Partitions of a program run as threads, one at a time; at every operation below another one may go on, as the seed says.
A fault is an error: no partition can go on, a copy into what is still read, a read of what is still copied, a result
taken before its wait, an arrival too many, a store that no fence made visible. Copies and reads are events that
barriers pass on to who waits: a partition that reads or overwrites without having heard of them is at fault in any
order.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .memory import Barrier, Memory, Product, ScheduleError, Tile, View


@dataclass
class Partition:
    """A thread of the program, its products under way, and what it waits for."""

    run: Callable[[], None]
    products: list[Product] = field(default_factory=list)
    ready: Callable[[], bool] = lambda: True
    known: set[int] = field(default_factory=set)  # events that this one has heard of
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    done: bool = False
    error: BaseException | None = None


class Multiprocessor:
    """One program: its partitions, and the copies under way."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._partitions: list[Partition] = []
        self._copies: list[Callable[[], None]] = []
        self._now: Partition | None = None
        self._back = threading.Semaphore(0)
        self._stopped = False
        self._events = itertools.count()
        self.memory: list[Memory] = []

    # ------------------------------------------------------------ the schedule

    def run(self, parts: list[Callable[[], None]]) -> None:
        """All partitions to their end, by turns."""
        self._partitions = [Partition(part) for part in parts]
        threads = [threading.Thread(target=self._thread, args=(one,), daemon=True) for one in self._partitions]
        for thread in threads:
            thread.start()
        try:
            self._schedule()
        finally:
            self._stopped = True
            for one in self._partitions:
                one.turn.release()
            for thread in threads:
                thread.join()
        if self._copies or any(one.products for one in self._partitions):
            raise ScheduleError("the program ended with work under way")

    def _schedule(self) -> None:
        while waiting := [one for one in self._partitions if not one.done]:
            able: list[Any] = [one for one in waiting if one.ready()]
            able += self._copies
            if not able:
                raise ScheduleError("deadlock: every partition waits, and no copy is under way")
            chosen = self._random.choice(able)
            if isinstance(chosen, Partition):
                self._now = chosen
                chosen.turn.release()
                self._back.acquire()
                if chosen.error is not None:
                    raise chosen.error
            else:
                self._copies.remove(chosen)
                chosen()

    def _thread(self, one: Partition) -> None:
        one.turn.acquire()
        try:
            if not self._stopped:
                one.run()
        except BaseException as error:  # noqa: BLE001 (raised again by the schedule)
            one.error = error
        one.done = True
        self._back.release()

    def step(self, ready: Callable[[], bool] = lambda: True) -> None:
        """Let others go on; back once `ready`."""
        one = self._now
        if one is None:  # before the partitions start
            return
        one.ready = ready
        self._back.release()
        one.turn.acquire()
        if self._stopped:
            raise SystemExit

    @property
    def _partition(self) -> Partition:
        """The one whose turn it is."""
        assert self._now is not None
        return self._now

    # ------------------------------------------------------------ operations

    def wait(self, barrier: Barrier, phase: Any) -> None:
        self.step(lambda: barrier.phase != int(phase))
        self._partition.known |= barrier.told

    def arrive(self, barrier: Barrier, count: int = 1, expected: int = 0) -> None:
        self.step()
        barrier.arrive(count, expected, self._partition.known)

    def copy_in(self, source: Tensor, block: list[int], place: list[Any], barrier: Barrier, view: View) -> None:
        """A block of a tensor, zeros outside of it, into a tile; its bytes count for the barrier."""
        self.step()
        tile, event = view.tile, self._overwrite(view.tile)
        tile.copying += 1
        tile.data = torch.full_like(tile.data, torch.nan)

        def arrive() -> None:
            tile.copying -= 1
            tile.data = _block(source, block, place)
            barrier.complete(tile.data.numel() * source.itemsize, event)

        self._copies.append(arrive)

    def store(self, tile: Tile, value: Tensor) -> None:
        self.step()
        self._partition.known.add(self._overwrite(tile))
        tile.data, tile.dirty = value, True

    def _overwrite(self, tile: Tile) -> int:
        tile.check_written(self._partition.known)
        tile.written, tile.reads = next(self._events), set()
        return tile.written

    def copy_out(self, target: Tensor, block: list[int], place: list[Any], view: View) -> None:
        self.step()
        if view.tile.dirty:
            raise ScheduleError("a store is copied out before a fence made it visible")
        view.tile.check_read(self._partition.known)
        spans = _spans(target, block, place)
        target[spans] = view.read()[tuple(slice(0, span.stop - span.start) for span in spans)]

    def fence(self) -> None:
        for item in (item for memory in self.memory for item in memory.items):
            if isinstance(item, Barrier):
                item.visible = True
            else:
                item.dirty = False

    def multiply(self, left: Any, right: View, total: Any) -> Product:
        self.step()
        if not isinstance(total, Tensor):
            raise ScheduleError("a product is added to before its wait")
        product = Product(left, right, total)
        for view in product.views():
            view.tile.check_read(self._partition.known)
            view.tile.readers += 1
        self._partition.products.append(product)
        return product

    def wait_products(self, left: int, results: tuple[Any, ...]) -> Any:
        """All but the last `left` products of this partition; returns the values of `results`."""
        self.step()
        under_way = self._partition.products
        for product in under_way[: len(under_way) - left]:
            for view in product.views():
                view.tile.check_read(self._partition.known)
            product.compute()
            for view in product.views():
                event = next(self._events)
                view.tile.reads.add(event)
                self._partition.known.add(event)
        del under_way[: len(under_way) - left]
        values = tuple(one.value if isinstance(one, Product) else one for one in results)
        if any(value is None for value in values):
            raise ScheduleError("a product's result is taken before its wait")
        return values[0] if len(values) == 1 else values


def _spans(tensor: Tensor, block: list[int], place: list[Any]) -> tuple[slice, ...]:
    firsts = [int(first) for first in place]
    return tuple(
        slice(min(first, size), min(first + width, size))
        for first, width, size in zip(firsts, block, tensor.shape, strict=True)
    )


def _block(tensor: Tensor, block: list[int], place: list[Any]) -> Tensor:
    part = tensor[_spans(tensor, block, place)]
    whole = torch.zeros(block, dtype=tensor.dtype)
    whole[tuple(slice(0, size) for size in part.shape)] = part
    return whole

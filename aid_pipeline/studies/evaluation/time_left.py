"""Time left of a long job in one line: for logs, where a bar would not do."""

from __future__ import annotations

import time
from collections.abc import Callable


class TimeLeft:
    """Counts pieces of work of equal cost.

    Args:
        total: pieces still to be done.
        clock: seconds; a test gives its own.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.done = total, 0
        self._clock = clock
        self._began = clock()

    def advance(self) -> str:
        """One piece more: `12 of 100, 3.1 s each, 4 min 33 s left`."""
        self.done += 1
        each = (self._clock() - self._began) / self.done
        return f"{self.done} of {self.total}, {each:.1f} s each, {duration(each * (self.total - self.done))} left"


def duration(seconds: float) -> str:
    """`45 s`, `4 min 33 s`, `3 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

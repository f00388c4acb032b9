"""One process a task, with a time limit: a crash or a hang is a result and not an end."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any


def each(
    names: list[str], task: Callable[[str], dict[str, Any]], limit: float, jobs: int = 1
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The record of every name, as they come, each made by a process forked from this one.

    Args:
        limit: seconds after which a task is ended.
        jobs: how many run side by side.
    """
    waiting = list(names)
    running: dict[Connection, tuple[str, Any, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            connection, process = _started(task, name)
            running[connection] = (name, process, time.monotonic())
        ready = wait(list(running), timeout=1.0)
        for connection in list(running):
            name, process, began = running[connection]
            seconds = time.monotonic() - began
            if connection not in ready and seconds < limit:
                continue
            record = _received(connection, process) if connection in ready else _ended(process, limit)
            del running[connection]
            yield name, record | {"seconds": round(seconds, 1)}


def _started(task: Callable[[str], dict[str, Any]], name: str) -> tuple[Connection, Any]:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_run, args=(theirs, task, name))
    process.start()
    theirs.close()
    return ours, process


def _run(connection: Connection, task: Callable[[str], dict[str, Any]], name: str) -> None:
    connection.send(task(name))
    connection.close()


def _received(connection: Connection, process: Any) -> dict[str, Any]:
    try:
        record: dict[str, Any] = connection.recv()
    except EOFError:
        process.join()
        record = {"status": "error", "why": f"the process ended with code {process.exitcode}"}
    process.join()
    return record


def _ended(process: Any, limit: float) -> dict[str, Any]:
    process.kill()
    process.join()
    return {"status": "not tried", "why": f"no answer within {limit:.0f} s"}

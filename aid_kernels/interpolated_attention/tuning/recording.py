"""Recording of the choices that serve a piece of code, and their replay, so that bits repeat."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any

from .choice import CallBucket, Choice

_recorded: ContextVar[dict[CallBucket, Choice] | None] = ContextVar("recorded", default=None)
_replayed: ContextVar[Mapping[CallBucket, Choice] | None] = ContextVar("replayed", default=None)


@contextmanager
def recorded_choices(replay: Mapping[CallBucket, Choice] | None = None) -> Iterator[dict[CallBucket, Choice]]:
    """Collect the choice of every kind of call in this thread; optionally prescribe those of an earlier record.

    Args:
        replay: choices that calls with impl="auto" take, whatever is measured or cached here.

    Raises:
        TypeError: `replay` is not such a record.
    """
    if replay is not None:
        _check_record("replay", replay)
    used: dict[CallBucket, Choice] = {}
    tokens = _recorded.set(used), _replayed.set(replay if replay is not None else _replayed.get())
    try:
        yield used
    finally:
        _recorded.reset(tokens[0])
        _replayed.reset(tokens[1])


def replayed(bucket: CallBucket) -> Choice | None:
    """The choice that is prescribed for a bucket, if any."""
    choices = _replayed.get()
    return None if choices is None else choices.get(bucket)


def is_replaying() -> bool:
    return _replayed.get() is not None


def is_recording() -> bool:
    return _recorded.get() is not None


def note(bucket: CallBucket, choice: Choice) -> None:
    """Record a choice, where one is asked for."""
    used = _recorded.get()
    if used is not None:
        used.setdefault(bucket, choice)


def choices_to_json(choices: Mapping[CallBucket, Choice]) -> list[dict[str, Any]]:
    """A record as JSON holds it; TypeError for anything else."""
    _check_record("choices", choices)
    return [{"call": asdict(bucket), "choice": choice.to_json()} for bucket, choice in choices.items()]


def choices_from_json(items: Iterable[Any]) -> dict[CallBucket, Choice]:
    """The record again.

    Raises:
        TypeError, ValueError: anything but what `choices_to_json` makes.
    """
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise TypeError(f"recorded choices must be a list of objects, got {reprlib.repr(items)}")
    found: dict[CallBucket, Choice] = {}
    for item in items:
        if not isinstance(item, Mapping) or not {"call", "choice"} <= set(item):
            raise ValueError(f"a recorded choice must be an object of call and choice, got {item!r}")
        found[CallBucket.from_json(item["call"])] = Choice.from_json(item["choice"])
    return found


def _check_record(name: str, record: Any) -> None:
    if not isinstance(record, Mapping) or not all(
        isinstance(bucket, CallBucket) and isinstance(choice, Choice) for bucket, choice in record.items()
    ):
        raise TypeError(f"{name} must be a mapping of CallBucket to Choice, got {reprlib.repr(record)}")

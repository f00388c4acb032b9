"""Atomic files: what is written appears whole or not at all, whatever stops the process meanwhile."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY = ".aid-writing-"  # names of unfinished files begin so


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a new file to, which at the end is synced and takes its place.

    Raises:
        OSError: the disk is full or the folder cannot be written to; `path` is then as it was.
    """
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(6)}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file as `replacing` does."""
    with replacing(path) as temporary, temporary.open("xb") as file:
        write(file)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as `replacing` does."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 as `replacing` does."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON as `replacing` does.

    Raises:
        ValueError: NaN or infinity, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

"""Cache of measured choices in the user's cache folder: a folder per GPU and software, a file per bucket.

A file appears whole or not at all, and the first one stays, so that processes that measure at once agree. A damaged one
is named and made anew. A candidate under trial is noted in a file of its own: one that ends the process is found by the
next. `AID_KERNELS_CACHE_DIR` is the folder; else `aid_kernels` in `XDG_CACHE_HOME`, by default `~/.cache`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...constants import CACHE_DIR_VARIABLE
from .choice import CallBucket, Choice
from .measure import DeviceLost, Measurement

logger = logging.getLogger("aid_kernels")

FORMAT = 1
_said: set[str] = set()


def cache_root() -> Path:
    """The folder of all caches; it need not exist."""
    named = os.environ.get(CACHE_DIR_VARIABLE)
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    # by the XDG rules a relative path is ignored
    home = Path(base) if base and Path(base).is_absolute() else Path("~/.cache").expanduser()
    return home / "aid_kernels"


class Cache:
    """Measured choices for one machine, by what `identity` says of it."""

    def __init__(self, identity: dict[str, Any], root: Path | None = None) -> None:
        text = json.dumps(identity, sort_keys=True)
        slug = re.sub(r"[^a-z0-9]+", "-", str(identity.get("device", "device")).lower()).strip("-")
        self.identity = identity
        self.folder = (root or cache_root()) / f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def path(self, bucket: CallBucket) -> Path:
        lengths = f"{bucket.query_length}x{bucket.key_length}+{bucket.bank_length}"
        notes = ("-fused" if bucket.fuse_self else "") + ("-masked" if bucket.masked else "")
        return self.folder / f"{bucket.mode}-{bucket.dtype}-d{bucket.head_dim}-{lengths}-j{bucket.sources}{notes}.json"

    def load(self, bucket: CallBucket) -> Measurement | None:
        """What was measured of a bucket; None if nothing was, or the file is damaged, which is said."""
        found = self._read(self.path(bucket))
        if found is not None and found[0] != bucket:
            say_once(f"{self.path(bucket)} holds another bucket, {found[0]}; it is measured anew")
            return None
        return None if found is None else found[1]

    def store(self, bucket: CallBucket, measurement: Measurement, *, replace: bool = False) -> Measurement:
        """Keep a measurement, unless another process has kept one meanwhile; returns the one that is kept."""
        path = self.path(bucket)
        content = {
            "format": FORMAT,
            "identity": self.identity,
            "bucket": asdict(bucket),
            "measurement": measurement.to_json(),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not replace:
                kept = self.load(bucket)
                if kept is not None:
                    return kept
            _write(path, json.dumps(content, indent=1) + "\n", overwrite=replace or path.exists())
        except FileExistsError:
            return self.load(bucket) or measurement
        except OSError as error:
            say_once(f"choices cannot be kept in {self.folder} ({error.strerror or error}); set {CACHE_DIR_VARIABLE}")
        return measurement

    def entries(self) -> list[tuple[CallBucket, Measurement]]:
        """Everything measured on this machine."""
        found = [self._read(path) for path in sorted(self.folder.glob("*.json"))]
        return [entry for entry in found if entry is not None]

    @contextmanager
    def trial(self, bucket: CallBucket) -> Iterator[Trial]:
        """Note candidates while they run for the first time; left behind only by a process that ended meanwhile."""
        trial = Trial(self.path(bucket))
        try:
            yield trial
        except DeviceLost:
            raise  # the note stays
        except BaseException:
            trial.finish()
            raise
        trial.finish()

    def _read(self, path: Path) -> tuple[CallBucket, Measurement] | None:
        try:
            content = json.loads(path.read_text("utf-8"))
            if content["format"] != FORMAT or content["identity"] != self.identity:
                raise ValueError("it was written by another version or on another machine")
            return CallBucket.from_json(content["bucket"]), Measurement.from_json(content["measurement"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            say_once(f"{path} is damaged ({type(error).__name__}: {error}); it is measured anew")
            return None


class Trial:
    """The note of what this process tries for a bucket, and those that ended processes left."""

    def __init__(self, path: Path) -> None:
        self._own = path.with_suffix(f".{platform.node()}.{os.getpid()}.trying")
        self._pattern = f"{path.stem}.*.trying"

    def note(self, choice: Choice) -> None:
        """Say that this candidate is about to run."""
        with suppress(OSError):
            self._own.parent.mkdir(parents=True, exist_ok=True)
            _write(self._own, json.dumps(choice.to_json()), overwrite=True)

    def crashed(self) -> dict[Choice, str]:
        """Candidates that ran when a process of this computer ended."""
        found: dict[Choice, str] = {}
        for path in self._own.parent.glob(self._pattern):
            process = path.name.split(".")[-2]
            if path == self._own or not path.name.endswith(f".{platform.node()}.{process}.trying") or _alive(process):
                continue
            with suppress(OSError, ValueError):
                found[Choice.from_json(json.loads(path.read_text("utf-8")))] = "the process ended while it ran"
            with suppress(OSError):
                path.unlink()
        return found

    def finish(self) -> None:
        with suppress(OSError):
            self._own.unlink()


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True
    return True


def _write(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a whole file at once.

    Raises:
        FileExistsError: it is there, and `overwrite` is not set.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        if overwrite or not hasattr(os, "link"):
            os.replace(temporary, path)
        else:
            os.link(temporary, path)
    finally:
        with suppress(OSError):
            os.unlink(temporary)


def say_once(line: str) -> None:
    """Warn, once in a process."""
    if line not in _said:
        _said.add(line)
        logger.warning(line)

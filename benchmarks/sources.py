"""Which source files a result speaks of, and whether they have changed since: no history is needed to tell.

A result records the git blob id of every file it depends on (`git hash-object FILE`, shortened). One whose files are
no longer those is stale, whatever its commit, in a shallow clone and an unpacked archive alike. Comments count: a hash
cannot tell them from code, and a stale mark too many does no harm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from benchmarks.machine import ROOT

_OPERATOR = "aid_kernels/interpolated_attention"
# patterns, from the root of the repository
STOCK = tuple(f"{_OPERATOR}/{name}.py" for name in ("sdpa", "log_sum_exp_ops", "layout"))
TRITON = (f"{_OPERATOR}/triton_*.py",)
_APPLYING = ("attention", "bank", "chunking", "denoiser_hook", "rebinding", "rows", "state")
SEQUENCE = (*STOCK, *(f"aid_pipeline/{name}.py" for name in _APPLYING), "benchmarks/public_schedule.py")
GPU = (*STOCK, *TRITON, "aid_kernels/configs/*.json")


def recorded(patterns: Iterable[str], root: Path = ROOT) -> dict[str, str]:
    """Path and blob id of every file that matches; goes into a result as "sources".

    Raises:
        FileNotFoundError: a pattern without a wildcard matches nothing.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        paths = sorted(root.glob(pattern))
        if not paths and "*" not in pattern:
            raise FileNotFoundError(f"{pattern} is not in {root}; correct the list in benchmarks/sources.py")
        found |= {path.relative_to(root).as_posix(): blob_id(path.read_bytes()) for path in paths}
    return found


def changed(sources: dict[str, str], root: Path = ROOT) -> list[str]:
    """Of the recorded files those that are not what they were, or gone."""
    return [
        path
        for path, blob in sources.items()
        if not (root / path).is_file() or blob_id((root / path).read_bytes()) != blob
    ]


def blob_id(content: bytes) -> str:
    """The first 12 digits of git's name for a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()[:12]

"""Moving images to write beside the frames, as options of saving."""

from __future__ import annotations

import importlib.util
import logging
import math
from dataclasses import dataclass, field
from typing import Any

from ..errors import OutputFolderError
from ..extras import what_is_missing

logger = logging.getLogger(__name__)

GIF_SLOWEST, GIF_FASTEST = 0.002, 50.0
"""Frames per second; a gif's delays are 2 bytes of hundredths, and players read 1 hundredth as 10."""


@dataclass(frozen=True)
class Formats:
    """Which moving images to write.

    Args:
        gif, webp, webm: write `sequence.gif`, `sequence.webp`, `sequence.webm`.
        video: write `sequence.mp4`; None means only where the "video" extra is installed.
        fps: frames per second, of clips images per second.

    Raises:
        OutputFolderError: an `fps` that is no positive, finite number, or one that a gif cannot have.
    """

    gif: bool = field(default=False, metadata={"help": "Also write sequence.gif.", "option": "--gif"})
    webp: bool = field(default=False, metadata={"help": "Also write sequence.webp.", "option": "--webp"})
    video: bool | None = field(
        default=None, metadata={"help": "Write sequence.mp4; default: if the video extra is there."}
    )
    fps: float = field(default=8.0, metadata={"help": "Frames per second of moving images."})
    webm: bool = field(default=False, metadata={"help": "Also write sequence.webm.", "option": "--webm"})

    def __post_init__(self) -> None:
        fps = self.fps
        if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < math.inf:
            raise OutputFolderError(f"fps must be a positive number, got {fps!r}")
        if self.gif and not GIF_SLOWEST <= fps <= GIF_FASTEST:
            raise OutputFolderError(
                f"a gif has {GIF_SLOWEST:g} to {GIF_FASTEST:g} frames per second, got fps={fps:g}; write a webp or mp4"
            )

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Formats:
        """Those that the files of a `sequence.json` have."""
        files = document["files"]
        kinds = (("gif", "gif"), ("webp", "webp"), ("webm", "webm"), ("video", "mp4"))
        return cls(**{name: f"sequence.{suffix}" in files for name, suffix in kinds}, fps=document["fps"])

    def names(self) -> list[str]:
        """Files to write.

        Raises:
            OutputFolderError: a video is asked for without the "video" extra.
        """
        wanted = ((self._writes_video(), "mp4"), (self.webm, "webm"), (self.gif, "gif"), (self.webp, "webp"))
        return [f"sequence.{suffix}" for asked, suffix in wanted if asked]

    def _writes_video(self) -> bool:
        missing = [name for name in ("imageio", "av") if importlib.util.find_spec(name) is None]
        if missing and self.webm:
            raise OutputFolderError(what_is_missing("sequence.webm", *missing))
        if missing and self.video:
            raise OutputFolderError(what_is_missing("sequence.mp4", *missing))
        if missing and self.video is None:
            logger.warning("no sequence.mp4: %s", what_is_missing("it", *missing))
        return not missing if self.video is None else self.video

"""Sequence of frames: what `interpolate` returns, and its `sequence.json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from .errors import OutputFolderError
from .io.formats import Formats
from .io.provenance import FORMAT, FORMAT_WITH_IMAGES
from .io.saving import save_frames


@dataclass(frozen=True, eq=False, repr=False)
class Sequence:
    """The frames of one sequence and everything needed to generate them again.

    Attributes:
        images: m frames as `output_type` asked: a list of PIL images, a float tensor (m, 3, H, W) or array (m, H, W, 3)
            in [0, 1], or latents.
        coefficients: t of each frame, from 0 to 1.
        settings: model, versions, machine, arguments and config, as written to `sequence.json`.
        timings: seconds for "encode", "denoise", "decode" and "total".
        report: the selected implementation of each attention layer and why (`handle.report()`).
        not_finite: numbers of frames that hold NaN or infinity, counted from 0.
        flagged: numbers of frames that the pipeline's safety checker blacked out.
        latents: the latents that were given, if any.
        end_images: real images at the ends, "real_a" and "real_b", at the size of the frames.
    """

    images: Any
    coefficients: tuple[float, ...]
    settings: dict[str, Any]
    timings: dict[str, float]
    report: str = ""
    not_finite: tuple[int, ...] = ()
    flagged: tuple[int, ...] = ()
    latents: Tensor | None = field(default=None)
    end_images: dict[str, Image.Image] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.coefficients)

    def __repr__(self) -> str:
        arguments = self.settings["arguments"]
        return (
            f"Sequence({arguments['prompt_a']!r} -> {arguments['prompt_b']!r}, {len(self)} frames, "
            f"{self.settings['config']['mode']}, {self.timings['total']:.1f} s)"
        )

    @property
    def faults(self) -> list[str]:
        """One line per kind of fault, with the frames' numbers; empty when all is well."""
        lines = []
        if self.not_finite:
            lines.append(
                f"frame(s) {_numbers(self.not_finite)} hold NaN or infinity; use a wider dtype or less guidance"
            )
        if self.flagged:
            lines.append(f"frame(s) {_numbers(self.flagged)} were blacked out by the model's safety checker")
        return lines

    def pil_images(self) -> list[Image.Image]:
        """The frames as PIL images, whatever `output_type` was.

        Raises:
            OutputFolderError: latents, which are no images.
        """
        if self.settings["arguments"]["output_type"] == "latent":
            raise OutputFolderError('latents cannot be saved as images; use output_type "pil", "pt" or "np"')
        if isinstance(self.images, list):
            return self.images
        array = (
            self.images.detach().float().cpu().permute(0, 2, 3, 1).numpy()
            if isinstance(self.images, Tensor)
            else self.images
        )
        return [Image.fromarray((frame * 255).round().astype(np.uint8)) for frame in np.nan_to_num(array)]

    def document(self) -> dict[str, Any]:
        """What `sequence.json` holds, besides the files."""
        return {
            "format": FORMAT_WITH_IMAGES if self.end_images else FORMAT,
            **self.settings,
            "coefficients": list(self.coefficients),
            "implementations": self.report.splitlines(),
            "timings": {name: round(seconds, 4) for name, seconds in self.timings.items()},
            "not_finite": list(self.not_finite),
            "flagged": list(self.flagged),
        }

    def save(
        self,
        folder: str | Path,
        *,
        gif: bool = Formats.gif,
        webp: bool = Formats.webp,
        video: bool | None = Formats.video,
        fps: float = Formats.fps,
    ) -> Path:
        """Write `000.png` ..., `sequence.png` (a strip), `sequence.mp4` and, last, `sequence.json`.

        Every file appears whole or not at all, also when the process is killed or the disk is full.

        Args:
            folder: new or empty; or one that an interrupted run of the same sequence left, which is then written anew.
            gif, webp: also write `sequence.gif`, `sequence.webp`.
            video: write `sequence.mp4`; None writes it if the "video" extra is installed and says so if not.
            fps: frames per second of the moving images.

        Returns:
            The folder.

        Raises:
            OutputFolderError: the folder holds something else or cannot be written to, latents instead of images,
                or a video that was asked for without the extra.
        """
        formats = Formats(gif, webp, video, fps)
        return save_frames(self.pil_images(), self.document(), folder, formats, self.latents, self.end_images)


FrameSequence = Sequence  # inside the package, where `Sequence` is that of `collections.abc`


def _numbers(frames: tuple[int, ...]) -> str:
    return ", ".join(str(frame) for frame in frames)

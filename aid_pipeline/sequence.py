"""Sequence of frames, images or clips: what `interpolate` returns, and its `sequence.json`."""

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
            in [0, 1], or latents. Of a video pipeline every frame is a clip of F images: a list of F PIL images,
            a tensor (m, F, 3, H, W) or an array (m, F, H, W, 3).
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

    @property
    def clip_length(self) -> int | None:
        """Images in the clip of each frame; None means that frames are images, or latents."""
        if self.settings["arguments"]["output_type"] == "latent":
            return None
        if isinstance(self.images, list):
            return len(self.images[0]) if isinstance(self.images[0], list) else None
        return int(self.images.shape[1]) if self.images.ndim == 5 else None

    def pil_images(self) -> list[Image.Image]:
        """The frames as PIL images, whatever `output_type` was.

        Raises:
            OutputFolderError: latents, which are no images, or clips.
        """
        if self.clip_length is not None:
            raise OutputFolderError(f"every frame is a clip of {self.clip_length} images; use pil_clips()")
        self._check_decoded()
        return self.images if isinstance(self.images, list) else _pil(self.images)

    def pil_clips(self) -> list[list[Image.Image]]:
        """The clips as lists of PIL images, whatever `output_type` was.

        Raises:
            OutputFolderError: latents, which are no images, or frames that are images.
        """
        self._check_decoded()
        if self.clip_length is None:
            raise OutputFolderError("every frame is one image, not a clip; use pil_images()")
        return self.images if isinstance(self.images, list) else [_pil(clip) for clip in self.images]

    def pil_frames(self) -> list[Image.Image] | list[list[Image.Image]]:
        """`pil_clips()` where frames are clips, else `pil_images()`."""
        return self.pil_images() if self.clip_length is None else self.pil_clips()

    def _check_decoded(self) -> None:
        if self.settings["arguments"]["output_type"] == "latent":
            raise OutputFolderError('latents cannot be saved as images; use output_type "pil", "pt" or "np"')

    def document(self) -> dict[str, Any]:
        """What `sequence.json` holds, besides the files."""
        return {
            "format": FORMAT_WITH_IMAGES if self.end_images else FORMAT,
            **self.settings,
            **({} if self.clip_length is None else {"clip_length": self.clip_length}),
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
        webm: bool = Formats.webm,
    ) -> Path:
        """Write `000.png` ..., `sequence.png` (a strip), `sequence.mp4` and, last, `sequence.json`.

        Clips are written as folders `000` ... of PNGs and as moving images `000.mp4` ..., beside the film of all clips,
        `sequence.mp4`; `sequence.png` then has a row per clip.

        Every file appears whole or not at all, also when the process is killed or the disk is full.

        Args:
            folder: new or empty; or one that an interrupted run of the same sequence left, which is then written anew.
            gif, webp, webm: also write `sequence.gif`, `sequence.webp`, `sequence.webm`; of clips `000.gif` ... too.
            video: write `sequence.mp4`; None writes it if the "video" extra is installed and says so if not.
            fps: frames per second of the moving images, of clips images per second.

        Returns:
            The folder.

        Raises:
            OutputFolderError: the folder holds something else or cannot be written to, latents instead of images,
                or a video that was asked for without the extra.
        """
        formats = Formats(gif, webp, video, fps, webm)
        return save_frames(self.pil_frames(), self.document(), folder, formats, self.latents, self.end_images)


FrameSequence = Sequence  # inside the package, where `Sequence` is that of `collections.abc`


def _pil(images: Any) -> list[Image.Image]:
    """PIL images of a tensor (n, 3, H, W) or an array (n, H, W, 3)."""
    array = images.detach().float().cpu().permute(0, 2, 3, 1).numpy() if isinstance(images, Tensor) else images
    return [Image.fromarray((image * 255).round().astype(np.uint8)) for image in np.nan_to_num(array)]


def _numbers(frames: tuple[int, ...]) -> str:
    return ", ".join(str(frame) for frame in frames)

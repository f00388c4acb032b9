"""IP-Adapter embeddings of every frame, put into the rows of a denoiser call.

Stock pipelines take one image for all rows: given one per frame, they would hand every row the images of all.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..families import image_slot
from .batching import DenoiserCall
from .frames import Frames


class FrameImageEmbeds:
    """The image embeddings of a sequence, placed once per layout of the rows.

    Args:
        denoiser: that reads them.
        frames: with `image_embeds`.

    Raises:
        UnsupportedPipelineError: the denoiser takes no image embeddings.
    """

    def __init__(self, denoiser: nn.Module, frames: Frames) -> None:
        self._slot = image_slot(denoiser)
        self._frames = frames
        self._placed: dict[tuple[Any, ...], list[Tensor]] = {}

    def inject(self, call: DenoiserCall, start: int) -> DenoiserCall:
        """The call with the frames' image embeddings in their rows.

        Args:
            start: the frames' first row.
        """
        like = call.sample  # weights may be elsewhere, or of another dtype, between calls
        key = (start, call.batch, like.device, like.dtype)
        if key not in self._placed:
            self._placed[key] = self._place(start, call.batch, like)
        value: Any = self._placed[key] if self._slot.takes_list else self._placed[key][0]
        return call.with_entry(self._slot.argument, self._slot.entry, value)

    def _place(self, start: int, batch: int, like: Tensor) -> list[Tensor]:
        """Per adapter, embeddings of all rows, on the device and in the dtype of `like`: negative ones, or zeros,
        around the frames'."""
        frames = self._frames
        placed = []
        for index, embeds in enumerate(frames.image_embeds or []):
            rows = embeds.repeat_interleave(frames.num_images_per_prompt, dim=0)
            whole = rows.new_zeros(batch, *rows.shape[1:])
            if frames.negative_image_embeds is not None:
                whole[:] = frames.negative_image_embeds[index]
            whole[start : start + len(rows)] = rows
            placed.append(whole.to(like.device, like.dtype))
        return placed

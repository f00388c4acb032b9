"""Checks of a selection against the other arguments of a sequence, before a model is loaded."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..errors import ArgumentError, LatentsError, PromptError, SelectionError
from .bayes import check_installed
from .settings import Selection


def check_selection(
    selection: Selection,
    frames: int,
    coefficients: Any,
    latents: Tensor | None,
    guide: Any,
    output_type: str = "pil",
    image: Any = None,
) -> None:
    """What selection cannot go with, said before anything is sampled.

    Raises:
        SelectionError: coefficients that are chosen already, or as `Selection.check`.
        LatentsError, PromptError, ArgumentError: latents, guides or images for each frame, since frames that are not
            kept would have none; latents in place of images.
    """
    selection.check(frames)
    if selection.method == "bayes":
        check_installed()
    if coefficients is not None:
        raise SelectionError("select chooses the coefficients itself; leave coefficients out, or leave select out")
    if latents is not None and latents.shape[0] != 2:
        raise LatentsError(
            "with select, latents must be those of the two endpoints, (2, C, h, w): it samples other frames too"
        )
    if guide is not None and not isinstance(guide, str):
        raise PromptError("with select, guide must be one prompt for all interior frames")
    if output_type == "latent":
        raise ArgumentError('select compares images; use output_type "pil", "pt" or "np"')
    several = isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4
    if several and len(image) != 1:
        raise ArgumentError(f"with select, image must be one image for all frames, got {len(image)}")

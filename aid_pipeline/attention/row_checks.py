"""Checks that the latents and the embeddings of a denoiser call belong together, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import RowsError


def check_embedding_rows(arguments: Mapping[str, Any], batch: int) -> None:
    """Fewer rows of embeddings than of latents would be spread over all of them unnoticed.

    Args:
        arguments: of the call, by name.
        batch: its rows of latents.

    Raises:
        RowsError: fewer rows of `encoder_hidden_states`.
    """
    embeds = arguments.get("encoder_hidden_states")
    if isinstance(embeds, Tensor) and embeds.ndim > 1 and embeds.shape[0] < batch:
        raise RowsError(
            f"a denoiser call has {batch} rows of latents and {embeds.shape[0]} of embeddings; a callback that cuts "
            "embeddings must keep a row for every frame, and where the stock call makes one negative row for all it "
            'needs a negative_prompt ("" will do)'
        )


def check_latent_rows(sample: Tensor, frames: int) -> bool:
    """Whether a call's latents are seen to be whole blocks of frames, as the embeddings are; False if all are alike.

    Args:
        sample: latents (k * frames, ...) of a call after the first step; conditional and unconditional rows share them.
        frames: rows of one block.

    Raises:
        RowsError: every frame's latents are repeated in a row (panoramas), so embeddings would meet another frame's.
    """
    blocks, rest = divmod(sample.shape[0], frames)
    if rest or blocks < 2 or frames < 2:
        return True
    repeated = sample.unflatten(0, (frames, blocks))
    if not bool((repeated == repeated[:, :1]).all()):
        return True
    stacked = sample.unflatten(0, (blocks, frames))
    if bool((stacked == stacked[:1]).all()):
        return False  # all frames alike so far
    raise RowsError(
        "the pipeline repeats the latents of every frame row by row, but the embeddings block by block, so they do not "
        "belong together; it cannot be interpolated with guidance (guidance_scale=1 has one row a frame)"
    )

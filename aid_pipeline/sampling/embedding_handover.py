"""Handover of the frames' embeddings to a stock call, without the copies that its `encode_prompt` makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..families import Family


def stub_embeddings(pipe: Any, family: Family, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stubs of the embeddings, as arguments of the stock call; its `encode_prompt` then returns the real ones.

    Stock calls keep the arguments they were given until they end, and repeat embeddings for each image of a prompt,
    which copies them even for one. So they are given views of one row, and get the rows from `encode_prompt`, which
    would only hand on the given ones: a long sequence has them in memory once.

    Args:
        pipe: a private copy.
        family: of the pipeline.
        compute: returns all frames' embeddings, by the stock call's argument names.
    """
    embeddings = compute()
    if not family.encodes_negative:  # FLUX's encode_prompt hands on what it is given, and copies nothing
        return embeddings
    do_classifier_free_guidance = "negative_prompt_embeds" in embeddings

    def encode_prompt(*_: Any, **__: Any) -> tuple[Tensor | None, ...]:
        rows = compute()
        # with guidance the stock call joins them anyway; else the denoiser gets them as they are
        return tuple(_whole(rows.get(name), not do_classifier_free_guidance) for name in family.encoder_outputs)

    pipe.encode_prompt = encode_prompt
    return {name: rows[:1].clone().expand_as(rows) for name, rows in embeddings.items()}


def _whole(rows: Tensor | None, contiguous: bool) -> Tensor | None:
    return rows.contiguous() if contiguous and rows is not None else rows

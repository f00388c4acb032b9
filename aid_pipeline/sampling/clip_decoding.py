"""Decoding of clips one at a time, so that memory beside the result is that of one clip."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor

from ..attention.batching import join_outputs, take_rows


def decode_each_clip(pipe: Any, original: Any, to_cpu: bool) -> None:
    """Let the VAE of a private copy decode one row of latents at a time; the stock call's results are the same.

    A VAE's own slicing serves most of them, but not one that is conditioned on the timestep (LTX), whose rows it does
    not split.

    Args:
        pipe: a private copy of `original`; a VAE that is not a copy too is left alone.
        to_cpu: hand each decoded clip to the CPU at once, where the output is wanted anyway.
    """
    vae = getattr(pipe, "vae", None)
    if vae is None or vae is getattr(original, "vae", None):
        return
    stock = vae.decode
    signature = inspect.signature(stock)

    def decode(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind(*args, **kwargs)
        latents = next(iter(call.arguments.values()))
        rows = latents.shape[0]
        decoded = []
        for row in range(rows):
            one = {name: take_rows(value, slice(row, row + 1), rows) for name, value in call.arguments.items()}
            decoded.append(_moved(stock(**one), "cpu") if to_cpu else stock(**one))
        return join_outputs(decoded, None)

    object.__setattr__(vae, "decode", decode)


def _moved(output: Any, device: str) -> Any:
    if isinstance(output, tuple):
        return tuple(_moved(part, device) for part in output)
    return output.to(device) if isinstance(output, Tensor) else type(output)(sample=output.sample.to(device))

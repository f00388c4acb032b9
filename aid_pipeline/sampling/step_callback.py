"""Callback at the end of a step: the user's own, with the rows of a sequence in what it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError

CALLBACK = "callback_on_step_end"
TENSORS = "callback_on_step_end_tensor_inputs"
EMBEDDINGS = "prompt_embeds"

Callback = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]


def with_frame_rows(call: dict[str, Any], num_frames: int, fixed_prompts: bool) -> dict[str, Any]:
    """Arguments of the stock call, with a callback that keeps a row for every frame.

    Official callbacks (`SDCFGCutoffCallback`) keep the last row of a tensor, which is one image's; of m frames it is
    the last m rows.

    Args:
        call: arguments of the stock call, with or without a callback.
        num_frames: m.
        fixed_prompts: prompts may not be changed, since mode "denoising" switches them itself.
    """
    callback = call.get(CALLBACK)
    if callback is None:
        return call

    def on_step_end(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        given = dict(tensors)  # official callbacks change the dictionary itself
        returned = callback(pipe, step, timestep, tensors)
        if not isinstance(returned, dict):
            return returned
        rows = {name: _frame_rows(name, value, given.get(name), num_frames) for name, value in returned.items()}
        if fixed_prompts and _is_changed(rows.get(EMBEDDINGS), given.get(EMBEDDINGS)):
            raise ArgumentError(
                f'{CALLBACK} changed {EMBEDDINGS}, which mode="denoising" switches itself; use another mode, or leave '
                "them as they are"
            )
        return rows

    wrapped = {CALLBACK: on_step_end}
    if getattr(callback, "tensor_inputs", None) is not None:  # the stock call asks only official callbacks for these
        wrapped[TENSORS] = callback.tensor_inputs
    return call | wrapped


def _frame_rows(name: str, value: Any, given: Any, num_frames: int) -> Any:
    """A returned tensor with all frames' rows."""
    if not isinstance(value, Tensor) or not isinstance(given, Tensor) or value.ndim == 0 or given.ndim == 0:
        return value
    rows, before = value.shape[0], given.shape[0]
    if rows == before or before % num_frames or rows % num_frames == 0:
        return value
    if rows == 1 and torch.equal(value, given[-1:]):
        return given[-num_frames:]
    if rows == 1 and torch.equal(value, given[:1]):
        return given[:num_frames]
    raise ArgumentError(
        f"{CALLBACK} returned {rows} row(s) of {name} where {num_frames} frames had {before}; return one a frame"
    )


def _is_changed(value: Any, given: Any) -> bool:
    if value is given or not isinstance(value, Tensor) or not isinstance(given, Tensor):
        return False
    return not any(part.shape == value.shape and torch.equal(part, value) for part in (given, given[-len(value) :]))

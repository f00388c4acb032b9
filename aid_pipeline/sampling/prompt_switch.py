"""Prompt switch: DI, the baseline that changes the prompt during denoising (arXiv 2403.17924)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..attention.row_matching import embeddings_among, find_rows
from ..conditioning.replay import Replay
from ..errors import RowsError
from ..families import ROW_AXIS


class PromptSwitch:
    """Gives every frame the first prompt for its first steps and the last prompt for the rest.

    Of N steps, frame t has the first prompt for N - floor(t N) and then the last prompt for floor(t N): the layout,
    which early steps decide, is the first prompt's for all t < 1. Negative embeddings are lerped and latents slerped.

    Args:
        replay: of the stock call, whose frames start with the first prompt.
        coefficients: t of each frame.
        steps_done: read at every denoiser call.
    """

    def __init__(self, replay: Replay, coefficients: Sequence[float], steps_done: Callable[[], int]) -> None:
        self._replay = replay
        self._coefficients = tuple(coefficients)
        self._steps_done = steps_done
        self._steps = 0
        self._found = False

    @contextmanager
    def installed(self, modules: Sequence[nn.Module], steps: int) -> Iterator[None]:
        """Switch in every call of these modules (the denoiser, a ControlNet) for the length of a run of `steps` steps.

        Raises:
            RowsError: at the end, if no call had the frames.
        """
        self._steps = steps
        with ExitStack() as stack:
            for module in modules:
                stack.callback(module.register_forward_pre_hook(self._before, with_kwargs=True).remove)
            yield
        if not self._found and self._replay.conditions():
            raise RowsError("no denoiser call had the frames' embeddings, so no prompt was switched")

    @torch.compiler.disable
    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        embeddings = self._replay.embeddings()
        names = tuple(inspect.signature(type(module).forward).parameters)[1:]
        call = dict(zip(names, args, strict=False)) | kwargs
        starts = [start for _, value in embeddings_among(call) for start in find_rows(value, embeddings)]
        if not starts:
            return None
        self._found = True
        left = self._steps - self._steps_done()
        on_last = [float(left <= math.floor(t * self._steps + 1e-9)) for t in self._coefficients]
        conditions = [(rows, made.rows(on_last)) for made in self._replay.conditions() for rows in [made.rows()]]
        switched = {name: _switched(value, name, conditions, starts[0]) for name, value in call.items()}
        return tuple(switched.pop(name) for name in names[: len(args)]), switched


def _switched(value: Any, name: str, conditions: list[tuple[Any, Any]], start: int) -> Any:
    """An argument, or the arguments in it, with other rows where it holds some of the conditions."""
    if isinstance(value, dict):
        return {key: _switched(item, str(key), conditions, start) for key, item in value.items()}
    if isinstance(value, list) and all(isinstance(item, Tensor) for item in value):
        for rows, now in conditions:
            if isinstance(rows, list) and start in find_rows(value, rows):
                return [*value[:start], *now, *value[start + len(now) :]]
    axis = ROW_AXIS.get(name, 0)
    if isinstance(value, Tensor) and value.ndim > axis:
        along = value.movedim(axis, 0)
        for rows, now in conditions:
            if not isinstance(now, Tensor) or along.shape[1:].numel() != rows.shape[1:].numel():
                continue
            if start in find_rows(along, rows):
                now = now.to(along).reshape(len(now), *along.shape[1:])
                return torch.cat([along[:start], now, along[start + len(now) :]]).movedim(0, axis)
    return value

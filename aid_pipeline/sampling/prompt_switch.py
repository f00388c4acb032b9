"""Prompt switch: DI, the baseline that changes the prompt during denoising (arXiv 2403.17924)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..attention.row_matching import find_rows
from ..conditioning.embeddings import Encoded
from ..errors import RowsError
from ..families import Family


class PromptSwitch:
    """Gives every frame the first prompt for its first steps and the last prompt for the rest.

    Of N steps, frame t has the first prompt for N - floor(t N) and then the last prompt for floor(t N): the layout,
    which early steps decide, is the first prompt's for all t < 1. Negative embeddings are lerped and latents slerped.

    Args:
        encoded: both prompts.
        coefficients: t of each frame.
        family: of the pipeline.
        steps_done: read at every denoiser call.
    """

    def __init__(
        self, encoded: Encoded, coefficients: Sequence[float], family: Family, steps_done: Callable[[], int]
    ) -> None:
        self._endpoints = encoded.first, encoded.last
        self._names = family.conditions
        self._coefficients = tuple(coefficients)
        self._steps_done = steps_done
        self._start = self._conditions([t == 1 for t in coefficients])
        self._steps = 0
        self._found = False

    def arguments_for(self, lerped: dict[str, Tensor]) -> dict[str, Tensor]:
        """Embeddings for the stock call: those of the first step, with the negative ones of `lerped`."""
        return lerped | self._start

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
        if not self._found:
            raise RowsError("no denoiser call had the frames' embeddings, so no prompt was switched")

    def _conditions(self, on_last: Sequence[bool]) -> dict[str, Tensor]:
        first, last = self._endpoints
        names = [name for name in first if not name.startswith("negative_")]
        return {name: torch.cat([(last if later else first)[name] for later in on_last]) for name in names}

    @torch.compiler.disable
    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        embeds = kwargs.get("encoder_hidden_states")
        starts = find_rows(embeds, self._start["prompt_embeds"]) if isinstance(embeds, Tensor) else []
        if not starts:
            return None
        self._found = True
        left = self._steps - self._steps_done()
        now = self._conditions([left <= math.floor(t * self._steps + 1e-9) for t in self._coefficients])
        return args, self._with(kwargs, now, starts[0])

    def _with(self, arguments: dict[str, Any], now: dict[str, Tensor], start: int) -> dict[str, Any]:
        changed = dict(arguments)
        for name, value in arguments.items():
            if isinstance(value, dict):
                changed[name] = self._with(value, now, start)
            elif isinstance(value, Tensor) and self._names.get(name) in now:
                rows = now[self._names[name]].to(value)
                changed[name] = torch.cat([value[:start], rows, value[start + len(rows) :]])
        return changed

"""Steps of a scheduler as affine functions of sample and model output, found by trying copies of it.

A deterministic step that looks at nothing but its sample x and the model's output v is x_next = A x + B v. What a
scheduler does beside is found by the same tries, so no table of schedulers is kept.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InversionError

_SHAPE = (1, 4, 8, 8)  # of the tensors a scheduler is tried with; thresholding takes images alone
_SPREAD = 6.0  # of their values, over any limit that samples are clipped to
_TOLERANCE = 1e-4  # of a float32 step, relative to the largest value


@dataclass(frozen=True)
class AffineStep:
    """One step: next sample = `of_sample` x + `of_output` v.

    Args:
        timestep: that the denoiser is shown.
        of_sample, of_output: the two factors.
        before: the scheduler as it is before the step.
    """

    timestep: Tensor
    of_sample: float
    of_output: float
    before: Any


def affine_steps(scheduler: Any) -> list[AffineStep]:
    """All steps of a scheduler whose timesteps are set; it stays as it is.

    Raises:
        InversionError: a step that is no such function, with the reason: noise, history, or values that are clipped.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    state, steps = copy.deepcopy(scheduler), []
    with torch.random.fork_rng(devices=[]):  # a scheduler may draw from the global generator
        for timestep in scheduler.timesteps:
            x, v = (_SPREAD * torch.randn(_SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))
            zero, one = torch.zeros_like(x), torch.ones_like(x)
            nothing = _next(state, timestep, zero, zero)
            random, again = _next(state, timestep, x, v), _next(state, timestep, x, v)
            of_sample = float(_next(state, timestep, one, zero).flatten()[0])
            of_output = float(_next(state, timestep, zero, one).flatten()[0])
            size = float(random.abs().max())
            if not math.isfinite(size + of_sample + of_output) or of_sample == 0:
                raise InversionError(_reason(scheduler, timestep, "its result is not finite, or forgets its sample"))
            if float((random - again).abs().max()) > _TOLERANCE * size:
                raise InversionError(_reason(scheduler, timestep, "it adds noise"))
            if float(nothing.abs().max()) > _TOLERANCE:
                raise InversionError(_reason(scheduler, timestep, "it depends on the steps before it (its history)"))
            if float((random - of_sample * x - of_output * v).abs().max()) > _TOLERANCE * size:
                raise InversionError(_reason(scheduler, timestep, "it clips or thresholds values, so it is not affine"))
            steps.append(AffineStep(timestep, of_sample, of_output, copy.deepcopy(state)))
            _step(state, timestep, x, v)
    return steps


def _next(state: Any, timestep: Tensor, sample: Tensor, output: Tensor) -> Tensor:
    return _step(copy.deepcopy(state), timestep, sample, output)


def _step(scheduler: Any, timestep: Tensor, sample: Tensor, output: Tensor) -> Tensor:
    if hasattr(scheduler, "scale_model_input"):  # some note that it was called
        scheduler.scale_model_input(sample, timestep)
    result: Tensor = scheduler.step(output, timestep, sample, return_dict=False)[0]
    return result.double().cpu()


def _reason(scheduler: Any, timestep: Tensor, what: str) -> str:
    return f"{type(scheduler).__name__} cannot be inverted: at timestep {float(timestep):g} {what}"

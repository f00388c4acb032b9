"""Inversion of an image: from its latents step by step up to the noise that a stock call makes it from.

A deterministic step x_next = A x + B v(x) is solved for x as a fixed point: x = (x_next - B v(x)) / A, from
v(x_next) on. The stock call itself runs, with its scheduler's steps in reverse order.
"""

from __future__ import annotations

import copy
import functools
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import InversionError
from .affine import AffineStep, affine_steps

_DEPTH = 4  # points that an accelerated fixed point remembers


class ReversedSteps:
    """Reversal of the steps of a scheduler, a private copy, for one stock call with one image.

    Args:
        iterations: evaluations of the denoiser for each step.
    """

    def __init__(self, iterations: int) -> None:
        self._iterations = iterations
        self._steps: list[AffineStep] = []
        self._done = 0
        self._solved: list[Tensor] = []  # from the clean latents on
        self._point = _FixedPoint()

    def install(self, scheduler: Any) -> None:
        """Replace what the stock call asks of the scheduler."""
        set_timesteps, step = scheduler.set_timesteps, scheduler.step

        @functools.wraps(set_timesteps)  # stock calls read its signature
        def set_reversed(*args: Any, **kwargs: Any) -> None:
            set_timesteps(*args, **kwargs)
            pristine = copy.copy(scheduler)
            for name in ("set_timesteps", "scale_model_input", "step"):
                vars(pristine).pop(name, None)  # the stand-ins
            self._steps = affine_steps(pristine)
            scheduler.timesteps = scheduler.timesteps.flip(0).repeat_interleave(self._iterations)

        @functools.wraps(step)
        def solve(model_output: Tensor, timestep: Any, sample: Tensor, *_: Any, **options: Any) -> Any:
            latents = self._solve(model_output, sample)
            return SimpleNamespace(prev_sample=latents) if options.get("return_dict", True) else (latents,)

        def scale_model_input(sample: Tensor, timestep: Any = None) -> Tensor:
            before = copy.copy(self._now().before)
            scaled: Tensor = before.scale_model_input(sample, timestep)
            return scaled

        scheduler.set_timesteps, scheduler.step = set_reversed, solve
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input = scale_model_input

    def trajectory(self) -> Tensor:
        """Latents (N + 1, ...) float32 before every step and after the last, in the order of denoising.

        Raises:
            InversionError: the stock call ended before the last step, or its values are not finite.
        """
        if len(self._solved) != len(self._steps) + 1:
            raise InversionError(
                f"the stock call made {self._done} steps of {len(self._steps) * self._iterations}; leave out what ends "
                "it early"
            )
        latents = torch.cat(self._solved[::-1]).float()
        if not torch.isfinite(latents).all():
            raise InversionError("the inverted latents hold NaN or infinity; use a wider dtype")
        return latents

    def _now(self) -> AffineStep:
        return self._steps[-1 - self._done // self._iterations]

    def _solve(self, output: Tensor, sample: Tensor) -> Tensor:
        """The next point to look at; after the last look, the solution, which is the next step's first point."""
        if not self._solved:
            self._solved.append(sample.double())
        step, target = self._now(), self._solved[-1]
        if self._done % self._iterations == 0:
            self._point = _FixedPoint()
        image = (target - step.of_output * output.double()) / step.of_sample
        following = self._point.after(sample.double(), image)
        self._done += 1
        if self._done % self._iterations == 0:
            self._solved.append(following)
        return following.to(sample.dtype)


class _FixedPoint:
    """A fixed point x = F(x), by Anderson's acceleration: steps towards F(x) as far as the last points agree on it."""

    def __init__(self) -> None:
        self._points: list[Tensor] = []
        self._residuals: list[Tensor] = []  # F(x) - x of each

    def after(self, point: Tensor, image: Tensor) -> Tensor:
        """The next point to look at, once F has mapped one more to its image."""
        self._points.append(point.flatten())
        self._residuals.append((image - point).flatten())
        sizes = [float(residual.norm()) for residual in self._residuals]
        if len(sizes) > 2 and sizes[-1] > sizes[-2] > 0:  # no nearer: half way from the best point on
            best = min(range(1, len(sizes)), key=sizes.__getitem__)
            return (self._points[best] + self._residuals[best] / 2).view_as(point)
        points, residuals = (torch.stack(values[-_DEPTH:], dim=1) for values in (self._points, self._residuals))
        found = image.flatten()
        if points.shape[1] > 1 and sizes[-1] > 0:
            moves, changes = points.diff(dim=1), residuals.diff(dim=1)
            weights = torch.linalg.lstsq(changes.cpu(), residuals[:, -1:].cpu()).solution.to(changes)
            found = found - ((moves + changes) @ weights).flatten()
        return found.view_as(point)

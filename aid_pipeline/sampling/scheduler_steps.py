"""Steps of a scheduler: how many timesteps the denoiser is shown, whatever the scheduler's order and quirks.

Which of them a denoiser call belongs to is counted in `attention/step_counter.py`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

LOOP_LENGTH = "_num_timesteps"  # what most stock calls note just before their loop


def denoiser_steps(pipe: Any, steps: int) -> int:
    """How many different timesteps the loop that is about to start shows the denoiser, one after another.

    A scheduler of second order shows each twice, or looks between two; PNDM shows one twice; img2img leaves out the
    first timesteps, `denoising_end` the last.

    Args:
        pipe: a private copy inside its call.
        steps: of the loop's progress bar.
    """
    timesteps = getattr(pipe.scheduler, "timesteps", None)
    if not isinstance(timesteps, Tensor):
        return steps
    length = getattr(pipe, LOOP_LENGTH, None)
    if length is None:
        left_out = max(0, (getattr(pipe.scheduler, "num_inference_steps", None) or steps) - steps)
        length = len(timesteps) - left_out * getattr(pipe.scheduler, "order", 1)
    parts = (timesteps[:length], timesteps[-length:])
    return max(len(part.unique_consecutive()) for part in parts)

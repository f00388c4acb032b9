"""Counter of denoising steps: which one a denoiser call belongs to.

How many steps a scheduler makes is asked in `sampling/scheduler_steps.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError

MAX_TABLE = 100_000  # elements; a larger storage is no table of timesteps


class StepCounter:
    """Counts steps by change of timestep: a scheduler that evaluates one twice (Heun), or two calls a step, count once.

    A run ends after `num_steps`; when the first timestep comes again, another run starts. FLUX hands timesteps over in
    the latents' dtype, where neighbours can round to one value; so the scheduler's own timestep counts as well.

    Args:
        num_steps: of a run.
        scheduler: the pipeline's, if it is known.
    """

    def __init__(self, num_steps: int, scheduler: Any = None) -> None:
        self.num_steps = num_steps
        self.step = -1
        self._scheduler = scheduler
        self._first: tuple[float, float | None] | None = None
        self._now: tuple[float, float | None] | None = None
        self._schedule: tuple[Tensor, list[float]] | None = None
        self._table: tuple[Tensor, int, list[float]] | None = None

    def advance(self, timestep: Any) -> int:
        """The index of the step that a call with this timestep belongs to.

        Raises:
            ConfigError: a step more than `num_steps`.
        """
        value = self._value(timestep)
        mark = (value, self._scheduled())
        if mark != self._now:
            self.step = 0 if mark == self._first else self.step + 1
            self._first = mark if self._first is None else self._first
            self._now = mark
        if self.step >= self.num_steps:
            raise ConfigError(
                f"the call denoises more than num_steps={self.num_steps} steps (timestep {value:g}); give Frames the "
                "number of distinct timesteps of the run: 2nd-order schedulers such as KDPM2 have more of them than "
                "num_inference_steps"
            )
        return self.step

    def _scheduled(self) -> float | None:
        """The timestep at which the scheduler stands; None where it does not say."""
        timesteps = getattr(self._scheduler, "timesteps", None)
        if not isinstance(timesteps, Tensor) or not hasattr(self._scheduler, "step_index"):
            return None
        index = self._scheduler.step_index
        if index is None:  # before its first step
            index = getattr(self._scheduler, "begin_index", None) or 0
        if self._schedule is None or self._schedule[0] is not timesteps:
            self._schedule = (timesteps, [float(entry) for entry in timesteps.tolist()])
        schedule = self._schedule[1]
        return schedule[index] if index < len(schedule) else None

    def _value(self, timestep: Any) -> float:
        if not isinstance(timestep, Tensor):
            return float(timestep)
        if timestep.device.type == "cpu":
            return float(timestep.flatten()[0])
        table = self._host_table(timestep)
        if table is not None:
            return table[timestep.storage_offset()]
        return float(timestep.flatten()[0].item())  # new in this call: no way but to wait for the device

    def _host_table(self, timestep: Tensor) -> list[float] | None:
        """The scheduler's timesteps on the host, of which `timestep` is a view: read once, so that no step waits."""
        storage = timestep.untyped_storage()
        entries = storage.nbytes() // timestep.element_size()
        if not 1 < entries <= MAX_TABLE:
            return None
        version = -1 if timestep.is_inference() else timestep._version  # a buffer may be filled anew for every step
        held = self._table
        if held is None or held[1] != version or held[0].untyped_storage().data_ptr() != storage.data_ptr():
            whole = torch.as_strided(timestep.detach(), (entries,), (1,), 0)
            held = self._table = (whole, version, [float(entry) for entry in whole.tolist()])
        return held[2]

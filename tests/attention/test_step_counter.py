"""Steps of a denoising run, counted by the timesteps that the denoiser is called with."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from aid_pipeline import AIDConfig
from aid_pipeline.attention.step_counter import StepCounter


class OnDevice(torch.Tensor):
    """A tensor that says it is on a GPU, and counts how often one of its kind is read."""

    reads = 0

    @property
    def device(self):
        return torch.device("cuda")

    def tolist(self):
        OnDevice.reads += 1
        return super().tolist()

    def item(self):
        OnDevice.reads += 1
        return super().item()


@pytest.fixture
def on_device():
    OnDevice.reads = 0
    return lambda values: torch.tensor(values).as_subclass(OnDevice)


def steps_of(timesteps, num_steps=10):
    counter = StepCounter(num_steps)
    return [counter.advance(timestep) for timestep in timesteps]


def test_steps_are_counted_by_timestep():
    assert steps_of([9, 5, 1]) == [0, 1, 2]
    assert steps_of([9, 9, 5, 5, 1, 1]) == [0, 0, 1, 1, 2, 2]  # two calls a step
    assert steps_of([9, 5, 5, 1, 1]) == [0, 1, 1, 2, 2]  # Heun
    assert steps_of(torch.tensor([9.0, 5.5, 1.0])) == [0, 1, 2]
    assert steps_of([torch.tensor([9.0, 9.0]), torch.tensor([5.0, 5.0])]) == [0, 1]
    assert steps_of([9, 5, 1, 9, 5], num_steps=3) == [0, 1, 2, 0, 1]  # the same call once more
    assert steps_of([9, 5, 9, 5, 1], num_steps=3) == [0, 1, 0, 1, 2]  # broken off, then started anew


def test_timesteps_on_a_device_are_read_once(on_device):
    """A view of the scheduler's table is looked up on the host; a tensor made for the call is not in a table."""
    counter, table = StepCounter(10), on_device([9.0, 5.0, 1.0])
    assert [counter.advance(timestep) for timestep in table] == [0, 1, 2]
    assert counter.advance(table[2].expand(4)) == 2
    assert OnDevice.reads == 1
    assert [counter.advance(timestep) for timestep in on_device([8.0, 2.0])] == [3, 4]
    assert OnDevice.reads == 2
    assert [counter.advance(on_device(3.0)), counter.advance(on_device(2.5))] == [5, 6]


def test_a_buffer_of_timesteps_that_is_filled_anew(on_device):
    """What a GPU's timesteps are read from must not be trusted after it was written to."""
    counter, buffer = StepCounter(3), on_device([0.0, 0.0])
    assert [counter.advance(buffer.fill_(timestep)) for timestep in (9.0, 5.0, 1.0)] == [0, 1, 2]


@pytest.mark.parametrize("steps", [28, 200])
def test_steps_whose_timesteps_round_to_one_value(steps):
    """FLUX hands bfloat16 timesteps over, of which neighbours are equal; two calls a step still count once."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    counter, sample = StepCounter(steps, scheduler), torch.zeros(1, 4)
    for _ in range(2):  # the same call once more
        scheduler.set_timesteps(steps)
        assert (len(scheduler.timesteps.bfloat16().unique()) < steps) == (steps == 200)
        for index, timestep in enumerate(scheduler.timesteps):
            passed = timestep.bfloat16() / 1000
            assert [counter.advance(passed), counter.advance(passed)] == [index, index]
            scheduler.step(sample, timestep, sample)


def test_a_loop_that_does_not_use_the_pipelines_scheduler():
    """Its timesteps count, wherever the pipeline's own scheduler was left."""
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(3)
    for timestep in scheduler.timesteps:
        scheduler.step(torch.zeros(1, 4), timestep, torch.zeros(1, 4))
    counter = StepCounter(3, scheduler)
    assert [counter.advance(timestep) for timestep in (9, 5, 5, 1, 9)] == [0, 1, 1, 2, 0]


@pytest.mark.parametrize(
    ("warmup", "steps", "active"), [(0.0, 5, 0), (0.5, 5, 2), (0.5, 7, 4), (0.3, 5, 2), (0.1, 5, 0), (1.0, 5, 5)]
)
def test_warmup_is_rounded(warmup, steps, active):
    assert AIDConfig(warmup=warmup).active_steps(steps) == active
    assert AIDConfig(mode="none", warmup=warmup).active_steps(steps) == 0

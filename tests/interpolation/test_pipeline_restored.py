"""Pipeline after `interpolate`: as it was, also after a failure, and in two threads."""

import threading

import pytest
import torch

from aid_pipeline import interpolate
from aid_pipeline.errors import BusyError

from ..support.families import FAMILIES, PROMPTS
from ..support.interpolation import FULL, arguments

SD1 = FAMILIES["sd1"]


def test_the_pipeline_is_left_as_it_was(family):
    pipe = family.fresh()
    before, scheduler = dict(vars(pipe)), dict(vars(pipe.scheduler))
    denoiser, vae = family.denoiser(pipe), dict(vars(pipe.vae))
    processors = {name: id(value) for name, value in denoiser.attn_processors.items()}
    interpolate(pipe, *PROMPTS, frames=3, config=FULL, **arguments(family))
    assert vars(pipe) == before
    assert vars(pipe.vae) == vae
    assert {name: id(value) for name, value in denoiser.attn_processors.items()} == processors
    assert not denoiser._forward_pre_hooks
    assert not denoiser._forward_hooks
    assert vars(pipe.scheduler).keys() == scheduler.keys()
    for name, value in scheduler.items():
        now = vars(pipe.scheduler)[name]
        assert torch.equal(now, value) if isinstance(value, torch.Tensor) else now == value


def test_a_failing_call_leaves_the_pipeline_usable():
    pipe = SD1.fresh()
    wanted = arguments(SD1)

    def stop(done, total):
        if done == 1:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        interpolate(pipe, *PROMPTS, frames=3, config=FULL, progress=stop, **wanted)
    assert not pipe.unet._forward_pre_hooks
    interpolate(pipe, *PROMPTS, frames=3, config=FULL, **wanted)


def test_two_threads_on_one_pipeline():
    """Both come out right, or the second is told at once."""
    pipe, wanted = SD1.fresh(), arguments(SD1)
    alone = [interpolate(pipe, *PROMPTS, frames=3, config=FULL, seed=seed, **wanted).images for seed in (0, 1)]
    results: dict[int, object] = {}
    inside, may_go_on = threading.Event(), threading.Event()

    def wait(done, total):
        inside.set()
        may_go_on.wait(30)

    def run(seed, progress):
        try:
            results[seed] = interpolate(pipe, *PROMPTS, frames=3, config=FULL, seed=seed, progress=progress, **wanted)
        except BusyError as error:
            results[seed] = error

    first = threading.Thread(target=run, args=(0, wait))
    first.start()
    assert inside.wait(30)
    second = threading.Thread(target=run, args=(1, None))
    second.start()
    second.join(30)
    may_go_on.set()
    first.join(30)
    assert torch.equal(results[0].images, alone[0])
    assert isinstance(results[1], BusyError)
    run(1, None)
    assert torch.equal(results[1].images, alone[1])

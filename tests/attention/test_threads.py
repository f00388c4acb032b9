"""Several pipelines and several threads in one process: every sequence is right, or refused at once."""

import copy
import threading

import diffusers
import torch

from aid_pipeline import AIDConfig, AIDError, aid, apply_aid
from aid_pipeline.errors import BusyError
from tests.support.families import FAMILIES
from tests.support.running import UNEVEN, describe, interpolated, stock

SD1 = FAMILIES["sd1"]
FULL = AIDConfig(warmup=1.0, impl="sdpa")


def test_two_pipelines_never_see_each_other():
    """Both on at once, of one class and with other frames, calls taking turns."""
    pipes = [SD1.fresh(), SD1.fresh()]
    configs = [AIDConfig(mode="outer", warmup=1.0, impl="sdpa"), AIDConfig(mode="inner", fuse_self=False, impl="sdpa")]
    calls = [SD1.call(pipes[0], UNEVEN), SD1.call(pipes[1], [0.0, 0.6, 1.0], prompts=("zinc", "a fig"), seed=3)]
    coefficients = [UNEVEN, [0.0, 0.6, 1.0]]
    alone = [interpolated(*each) for each in zip(pipes, calls, coefficients, configs, strict=True)]
    plain = stock(SD1.pipeline(), calls[0])
    handles = [
        apply_aid(pipe, config, describe(call, t))
        for pipe, config, call, t in zip(pipes, configs, calls, coefficients, strict=True)
    ]
    for _ in range(2):
        for pipe, call, expected in zip(pipes, calls, alone, strict=True):
            assert torch.equal(stock(pipe, call), expected)
    assert torch.equal(stock(SD1.pipeline(), calls[0]), plain)
    handles[0].remove()
    assert torch.equal(stock(pipes[0], calls[0]), plain)
    assert torch.equal(stock(pipes[1], calls[1]), alone[1])
    handles[1].remove()


def in_threads(*jobs):
    """Run jobs at once; what each returned or raised."""
    results = [None] * len(jobs)
    barrier = threading.Barrier(len(jobs))

    def run(index):
        barrier.wait()
        try:
            results[index] = jobs[index]()
        except AIDError as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_two_threads_with_a_pipeline_each():
    pipes = [SD1.fresh(), SD1.fresh()]
    calls = [SD1.call(pipes[0], UNEVEN, steps=6), SD1.call(pipes[1], UNEVEN, steps=6, prompts=("zinc", "a fig"))]
    alone = [interpolated(pipe, call, UNEVEN, FULL) for pipe, call in zip(pipes, calls, strict=True)]
    found = in_threads(
        *(
            lambda pipe=pipe, call=call: interpolated(pipe, call, UNEVEN, FULL)
            for pipe, call in zip(pipes, calls, strict=True)
        )
    )
    assert all(torch.equal(frames, expected) for frames, expected in zip(found, alone, strict=True))


def test_two_threads_on_one_denoiser():
    """Two stock pipelines around one UNet: each sequence is right, or refused at once; nothing in between."""
    first = SD1.fresh()
    second = diffusers.StableDiffusionPipeline(
        **first.components | {"scheduler": copy.deepcopy(first.scheduler)}, requires_safety_checker=False
    )
    second.set_progress_bar_config(disable=True)
    calls = [SD1.call(first, UNEVEN, steps=6), SD1.call(first, UNEVEN, steps=6, prompts=("zinc", "a fig"))]
    alone = [interpolated(first, call, UNEVEN, FULL) for call in calls]
    jobs = zip((first, second), calls, strict=True)
    found = in_threads(*(lambda pipe=pipe, call=call: interpolated(pipe, call, UNEVEN, FULL) for pipe, call in jobs))
    made = [result for result in found if isinstance(result, torch.Tensor)]
    assert made, found
    for result, expected in zip(found, alone, strict=True):
        assert isinstance(result, BusyError) or torch.equal(result, expected)
    assert torch.equal(interpolated(second, calls[1], UNEVEN, FULL), alone[1])


def test_a_stock_call_from_another_thread_while_on():
    """It must not be taken for the sequence, nor be interpolated."""
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    plain = stock(pipe, call)
    with aid(pipe, FULL, describe(call, UNEVEN)):
        (result,) = in_threads(lambda: stock(pipe, call))
        stock(pipe, call)
    assert isinstance(result, BusyError) or torch.equal(result, plain)
    assert torch.equal(stock(pipe, call), plain)


def test_a_thread_that_died_does_not_block_the_denoiser():
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    in_threads(lambda: apply_aid(pipe, FULL, describe(call, UNEVEN)))
    expected = interpolated(SD1.pipeline(), call, UNEVEN, FULL)
    assert torch.equal(interpolated(pipe, call, UNEVEN, FULL), expected)
    assert not pipe.unet._forward_pre_hooks


def test_the_second_thread_gets_an_error_at_once():
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    expected = interpolated(pipe, call, UNEVEN, FULL)
    started, over, errors = threading.Event(), threading.Event(), []

    def second():
        started.wait()
        for attempt in (lambda: interpolated(pipe, call, UNEVEN, FULL), lambda: stock(pipe, call)):
            try:
                attempt()
            except AIDError as error:
                errors.append(type(error))
        over.set()

    def wait(*_):
        started.set()
        assert over.wait(60)
        return {}

    other = threading.Thread(target=second)
    other.start()
    frames = interpolated(pipe, call | {"callback_on_step_end": wait}, UNEVEN, FULL)
    other.join()
    assert errors == [BusyError, BusyError]
    assert torch.equal(frames, expected)
    assert torch.equal(interpolated(pipe, call, UNEVEN, FULL), expected)

"""Callbacks of the stock call: cutoffs keep the frames' rows, a stop button stops, prompts may be changed."""

import diffusers
import pytest
import torch

from aid_pipeline import AIDConfig, interpolate
from aid_pipeline.errors import AIDError, ArgumentError, RowsError
from tests.support.families import FAMILIES, PROMPTS
from tests.support.interpolation import FULL, arguments

CUTOFFS = {
    "sd1": diffusers.callbacks.SDCFGCutoffCallback,
    "sdxl": diffusers.callbacks.SDXLCFGCutoffCallback,
    "sd3": diffusers.callbacks.SD3CFGCutoffCallback,
}


def frames_of(family, config=FULL, pipe=None, **more):
    call = arguments(family, frames=3, output_type="latent", **{"num_inference_steps": 4, **more})
    return interpolate(pipe or family.pipeline(), *PROMPTS, config=config, **call)


@pytest.mark.parametrize("name", CUTOFFS)
@pytest.mark.parametrize("mode", ["outer", "denoising"])
def test_a_cutoff_of_guidance_keeps_every_frame(name, mode):
    """Endpoints are those of a stock call with the same callback; interior frames are still interpolated."""
    family = FAMILIES[name]
    cutoff = CUTOFFS[name](cutoff_step_ratio=0.5)
    config = AIDConfig(mode=mode, warmup=1.0)
    made = frames_of(family, config, callback_on_step_end=cutoff).images
    call = {name: value for name, value in arguments(family).items() if name != "output_type"}
    call |= {"num_inference_steps": 4, "callback_on_step_end": cutoff, "output_type": "latent"}
    for index, prompt in ((0, PROMPTS[0]), (-1, PROMPTS[1])):
        alone = family.pipeline()(prompt, generator=torch.Generator().manual_seed(0), **call).images
        assert float((made[index] - alone[0]).abs().max()) < 1e-4 * float(alone.abs().max())
    whole = frames_of(family, config).images
    assert float((made - whole).abs().max()) > 1e-4


def test_rows_cut_in_another_way_are_an_error_that_says_so():
    def cut(pipe, step, timestep, tensors):
        return {"prompt_embeds": tensors["prompt_embeds"][:2] * 2}

    with pytest.raises(ArgumentError, match="prompt_embeds"):
        frames_of(FAMILIES["sd1"], callback_on_step_end=cut, callback_on_step_end_tensor_inputs=["prompt_embeds"])


def test_a_changed_prompt_and_a_switched_one_do_not_go_together():
    def change(pipe, step, timestep, tensors):
        return {"prompt_embeds": tensors["prompt_embeds"] * 1.1}

    with pytest.raises(ArgumentError, match="denoising"):
        frames_of(
            FAMILIES["sd1"],
            AIDConfig(mode="denoising"),
            callback_on_step_end=change,
            callback_on_step_end_tensor_inputs=["prompt_embeds"],
        )


@pytest.mark.parametrize("name", ["sd1", "sdxl", "sd3", "flux"])
@pytest.mark.parametrize("own", [False, True], ids=["the caller's pipeline", "the callback's pipeline"])
def test_a_stop_button_stops_after_the_step(name, own):
    family = FAMILIES[name]
    pipe = family.fresh()
    steps = []

    def stop(running, step, timestep, tensors):
        steps.append(step)
        (running if own else pipe)._interrupt = True
        return {}

    frames_of(family, pipe=pipe, callback_on_step_end=stop)
    assert steps == [0]
    steps.clear()
    frames_of(family, pipe=pipe, callback_on_step_end=lambda *step: steps.append(step[1]) or {})
    assert steps == [0, 1, 2, 3]  # a flag that an earlier run left does not stop the next


@pytest.mark.parametrize("mode", ["outer", "none"])
def test_a_pipeline_that_repeats_latents_row_by_row_is_refused(mode):
    """A panorama's loop: latents row by row, embeddings block by block."""
    pipe = diffusers.StableDiffusionPanoramaPipeline(
        **FAMILIES["sd1"].fresh().components, requires_safety_checker=False
    )
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    with pytest.raises(RowsError, match="row by row"):
        frames_of(FAMILIES["sd1"], AIDConfig(mode=mode, warmup=1.0), pipe=pipe)


def test_an_option_that_the_libraries_cannot_serve_is_one_line():
    """`clip_skip` reads an attribute that text encoders of transformers 5 do not have."""
    family = FAMILIES["sd1"]
    try:
        family.pipeline()(PROMPTS[0], clip_skip=1, **arguments(family))
    except AttributeError:
        with pytest.raises(ArgumentError, match="clip_skip=1"):
            frames_of(family, clip_skip=1)
    else:
        frames_of(family, clip_skip=1)


@pytest.mark.parametrize("name", ["sd3", "sdxl"])
def test_a_text_encoder_that_was_left_out_reads_nothing(name):
    """Prompts that differ only behind what the encoders there read are an error, tokenizers or not."""
    family = FAMILIES[name]
    pipe = family.fresh()
    left_out = "text_encoder_3" if name == "sd3" else "text_encoder"
    setattr(pipe, left_out, None)
    far = "red " * 100
    with pytest.raises(AIDError) as raised:
        interpolate(pipe, far + "sphere", far + "cube", config=FULL, **arguments(family, frames=3))
    assert "long" in str(raised.value)


@pytest.mark.parametrize("iterates", [False, True])
def test_a_loop_that_iterates_over_its_progress_bar_is_counted_like_one_that_updates_it(iterates):
    """Kandinsky's loops, among others, iterate over it."""
    from contextlib import contextmanager

    from aid_pipeline.sampling.stock_call import CallMonitor

    pipe, steps, running = FAMILIES["sd1"].fresh(), [], []

    @contextmanager
    def denoising(count):
        running.append(count)
        yield
        running.append("over")

    CallMonitor(denoising, lambda done, total: steps.append((done, total))).install(pipe, FAMILIES["sd1"].pipeline())
    if iterates:
        assert list(pipe.progress_bar([5, 4, 3])) == [5, 4, 3]
    else:
        with pipe.progress_bar(total=3) as bar:
            for _ in range(3):
                bar.update()
    assert running == [3, "over"]
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]

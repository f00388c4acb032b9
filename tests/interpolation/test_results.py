"""Result of `interpolate`: images, settings, progress and faults."""

import json
import logging
import warnings

import diffusers
import pytest
import torch
import transformers

from aid_pipeline import AIDConfig, BetaPrior, FrameWarning, interpolate

from ..support.families import FAMILIES, GUIDE, PROMPTS, embed
from ..support.interpolation import FULL, STEPS, TEI, arguments

SD1 = FAMILIES["sd1"]


@pytest.mark.parametrize("output_type", ["pil", "pt", "np", "latent"])
def test_output_types_are_those_of_the_stock_call(output_type):
    pipe, wanted = SD1.pipeline(), arguments(SD1) | {"output_type": output_type}
    images = interpolate(pipe, *PROMPTS, frames=3, config=TEI, chunk=100, **wanted).images
    assert len(images) == 3
    alone = pipe(prompt=PROMPTS[0], generator=torch.Generator().manual_seed(0), **wanted).images
    assert type(images) is type(alone)
    assert getattr(images[0], "shape", None) == getattr(alone[0], "shape", None)


@pytest.mark.parametrize("name", ["sd1", "sdxl", "sd3", "flux", "pixart_sigma"])
def test_frames_are_bit_equal_to_a_stock_call_that_decodes_in_slices(name):
    """The two endpoints, with interpolation on for a third frame: one batch of the same shape, decoded one by one."""
    family = FAMILIES[name]
    pipe, wanted = family.fresh(), arguments(family, cfg=False)
    config = AIDConfig(warmup=1.0, impl="sdpa")
    images = interpolate(pipe, *PROMPTS, frames=3, config=config, chunk=100, **wanted).images
    pipe.vae.enable_slicing()
    same = [torch.Generator().manual_seed(0) for _ in range(3)]
    each = [embed(pipe, prompt, None) for prompt in (PROMPTS[0], GUIDE, PROMPTS[1])]  # batches differ in last bits
    rows = {key: torch.cat([one[key] for one in each]) for key in each[0]}
    alone = pipe(**rows, generator=same, **wanted).images
    assert torch.equal(images[[0, 2]], alone[[0, 2]])


def test_the_same_call_gives_the_same_bits_and_settings_that_json_holds():
    pipe = SD1.pipeline()
    wanted = arguments(SD1, coefficients=BetaPrior(3, 3), seed=(1, 2), frames=5)
    first, second = (interpolate(pipe, *PROMPTS, config=FULL, **wanted) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert json.loads(json.dumps(first.settings)) == json.loads(json.dumps(second.settings))
    assert first.settings["arguments"]["coefficients"] == {"beta_prior": [3, 3]}
    assert first.settings["chunk_used"] == 10
    assert first.report.startswith("8 layers: sdpa 8")
    assert first.timings["denoise"] > 0
    assert first.coefficients == BetaPrior(3, 3).coefficients(5)
    assert len(first) == 5
    assert "5 frames" in repr(first)


def test_progress_counts_every_step():
    counted = []
    interpolate(
        SD1.pipeline(), *PROMPTS, frames=2, config=TEI, progress=lambda *step: counted.append(step), **arguments(SD1)
    )
    assert counted == [(done, STEPS) for done in range(STEPS + 1)]


def test_an_error_of_the_progress_callback_is_nobody_elses():
    def broken(done, total):
        raise ValueError(f"mine at {done} of {total}")

    with pytest.raises(ValueError, match=r"^mine at 0 of 3$"):
        interpolate(SD1.fresh(), *PROMPTS, progress=broken, **arguments(SD1))


def test_identical_prompts_are_allowed_and_said(caplog):
    with caplog.at_level(logging.WARNING):
        interpolate(SD1.pipeline(), "a", "a", frames=2, **arguments(SD1))
    assert "both prompts are 'a'" in caplog.text


@pytest.mark.parametrize("output_type", ["pt", "latent"])
def test_frames_that_are_not_finite_are_named(output_type):
    pipe = SD1.fresh()

    def overflow(module, inputs, output):
        output[0][[1, 5]] = torch.inf  # frame 1 of four, unconditional and conditional
        return output

    pipe.unet.register_forward_hook(overflow)
    with pytest.warns(FrameWarning, match=r"frame\(s\) 1 hold NaN"):
        sequence = interpolate(
            pipe, *PROMPTS, frames=4, config=TEI, chunk=100, **arguments(SD1) | {"output_type": output_type}
        )
    assert sequence.not_finite == (1,)


def test_frames_that_the_safety_checker_blacks_out_are_named():
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config=tower, vision_config=tower | {"image_size": 16, "patch_size": 8}, projection_dim=8
    )
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.fill_(-2)  # every image is far above the threshold
    extractor = transformers.CLIPImageProcessor(size=16, crop_size=16)
    pipe = diffusers.StableDiffusionPipeline(
        **SD1.fresh().components | {"safety_checker": checker, "feature_extractor": extractor}
    )
    pipe.set_progress_bar_config(disable=True)
    with pytest.warns(FrameWarning, match=r"frame\(s\) 0, 1, 2 were blacked out"):
        sequence = interpolate(pipe, *PROMPTS, frames=3, config=TEI, **arguments(SD1))
    assert sequence.flagged == (0, 1, 2)


def test_sound_frames_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error", FrameWarning)
        sequence = interpolate(SD1.pipeline(), *PROMPTS, frames=2, **arguments(SD1))
    assert sequence.faults == []

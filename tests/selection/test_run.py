"""Selection on tiny random pipelines: the same frames as without it, at the cost it promises, and what it refuses."""

import json

import diffusers
import numpy as np
import pytest
import torch

from aid_pipeline import AIDConfig, BetaPrior, Selection, interpolate
from aid_pipeline.attention.endpoint_cache import EndpointCache
from aid_pipeline.errors import AIDError, ArgumentError, DistanceError, LatentsError, PromptError, SelectionError
from tests.support.families import FAMILIES, GUIDE, PIXELS, PROMPTS
from tests.support.interpolation import arguments
from tests.support.running import distance as apart
from tests.support.running import interpolated
from tests.support.variations import with_controlnet

FULL = AIDConfig(mode="outer", warmup=1.0)
SD1 = FAMILIES["sd1"]


def colours(first, second):
    """A distance without a network; unlike frames of a random model differ plainly in it."""
    return (first - second).abs().mean((1, 2, 3))


DYNAMIC = Selection(distance=colours)


class Rows:
    """Counts the rows that a denoiser runs."""

    def __init__(self, pipe):
        self.calls = []
        module = pipe.unet.conv_in
        self._handle = module.register_forward_pre_hook(lambda module, args: self.calls.append(len(args[0])))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._handle.remove()


# ---------------------------------------------------------------- equal frames, at their cost


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_a_selected_sequence_is_the_one_its_coefficients_make(name, mode):
    family = FAMILIES[name]
    pipe, wanted = family.pipeline(), arguments(family)
    config = AIDConfig(mode=mode, warmup=0.7)
    chosen = interpolate(pipe, *PROMPTS, frames=4, config=config, seed=(1, 2), select=DYNAMIC, **wanted)
    plain = interpolate(
        pipe, *PROMPTS, frames=4, config=config, seed=(1, 2), coefficients=chosen.coefficients, **wanted
    )
    assert (chosen.images - plain.images).abs().max() < 1e-4
    assert (plain.images[1:] - plain.images[:-1]).abs().max() > 1e-3
    assert chosen.settings["selection"]["denoised_frames"] == 6


@pytest.mark.parametrize("mode", ["none", "denoising"])
@pytest.mark.parametrize("name", ["sd1", "flux"])
def test_baselines_too(mode, name):
    family = FAMILIES[name]
    pipe, wanted = family.pipeline(), arguments(family) | {"config": AIDConfig(mode=mode), "frames": 4}
    chosen = interpolate(pipe, *PROMPTS, select=DYNAMIC, **wanted)
    plain = interpolate(pipe, *PROMPTS, coefficients=chosen.coefficients, **wanted)
    assert (chosen.images - plain.images).abs().max() < 1e-4


@pytest.mark.parametrize("chunk", [1, 3, 16, "auto"])
@pytest.mark.parametrize("guide", [None, GUIDE])
def test_any_chunk_and_a_guide(chunk, guide):
    pipe, wanted = SD1.pipeline(), arguments(SD1) | {"config": FULL, "frames": 5, "guide": guide, "chunk": chunk}
    chosen = interpolate(pipe, *PROMPTS, select=Selection(distance=colours, per_round=2), **wanted)
    plain = interpolate(pipe, *PROMPTS, coefficients=chosen.coefficients, **wanted)
    assert (chosen.images - plain.images).abs().max() < 1e-4


@pytest.mark.parametrize(
    "scheduler", [diffusers.HeunDiscreteScheduler, diffusers.EulerAncestralDiscreteScheduler, diffusers.LCMScheduler]
)
def test_schedulers_that_look_between_steps_or_add_noise(scheduler):
    pipe = SD1.fresh()
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    wanted = arguments(SD1) | {"config": FULL, "frames": 4}
    chosen = interpolate(pipe, *PROMPTS, select=DYNAMIC, **wanted)
    plain = interpolate(pipe, *PROMPTS, coefficients=chosen.coefficients, **wanted)
    assert (chosen.images - plain.images).abs().max() < 1e-4


def test_with_a_controlnet():
    pipe = with_controlnet(SD1.fresh())
    image = torch.rand(1, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(4))
    wanted = arguments(SD1, image=image) | {"config": FULL, "frames": 4}
    chosen = interpolate(pipe, *PROMPTS, select=DYNAMIC, **wanted)
    plain = interpolate(pipe, *PROMPTS, coefficients=chosen.coefficients, **wanted)
    assert (chosen.images - plain.images).abs().max() < 1e-4


@pytest.mark.parametrize(("frames", "chunk"), [(3, "auto"), (7, "auto"), (7, 4), (15, "auto")])
@pytest.mark.parametrize("warmup", [0.5, 1.0])
def test_the_cost_is_at_most_that_of_one_and_a_half_sequences(frames, chunk, warmup):
    pipe = SD1.pipeline()
    wanted = arguments(SD1) | {"config": AIDConfig(warmup=warmup), "frames": frames, "chunk": chunk}
    with Rows(pipe) as plain:
        interpolate(pipe, *PROMPTS, **wanted)
    with Rows(pipe) as selected:
        interpolate(pipe, *PROMPTS, select=DYNAMIC, **wanted)
    steps = wanted["num_inference_steps"]
    assert sum(plain.calls) == 2 * frames * steps
    assert sum(selected.calls) == 2 * int(1.5 * frames) * steps
    assert sum(selected.calls) <= 1.6 * sum(plain.calls)
    if chunk == 4:
        assert max(selected.calls) <= 4


def test_endpoints_are_run_once_and_later_calls_need_no_first_frame():
    """At the level of denoiser calls: a memory filled with one interior frame serves others."""
    pipe, first, second = SD1.pipeline(), (0.0, 0.4, 1.0), (0.0, 0.2, 0.7, 0.9, 1.0)
    memory = EndpointCache()
    interpolated(pipe, SD1.call(pipe, first, steps=2), first, FULL, endpoints=memory)
    memory.filled = True
    call = SD1.call(pipe, second, steps=2)
    whole = interpolated(pipe, call, second, FULL)
    for chunk in (None, 1, 2, 4):
        with Rows(pipe) as rows:
            again = interpolated(pipe, call, second, FULL, endpoints=memory, chunk=chunk)
        assert sum(rows.calls) == 2 * 2 * 3
        assert apart(again, whole) < 1e-4
    three_steps = SD1.call(pipe, second, steps=3)
    with pytest.raises(AIDError, match="must make the same calls"):
        interpolated(pipe, three_steps, second, FULL, endpoints=memory)
    plain_cross = EndpointCache()
    interpolated(pipe, call, second, AIDConfig(mode="inner", warmup=1.0), endpoints=plain_cross)
    plain_cross.filled = True
    with pytest.raises(AIDError, match=r"attn2 has no endpoint keys and values"):
        interpolated(pipe, call, second, FULL, endpoints=plain_cross)


def test_images_come_as_asked():
    pipe = SD1.pipeline()
    made = {
        kind: interpolate(
            pipe, *PROMPTS, frames=4, config=FULL, select=DYNAMIC, **arguments(SD1, output_type=kind)
        ).images
        for kind in ("pt", "np", "pil")
    }
    assert np.array_equal(made["np"], made["pt"].permute(0, 2, 3, 1).numpy())
    assert np.array_equal(np.stack([np.asarray(x) for x in made["pil"]]), (made["np"] * 255).round().astype("uint8"))


def test_selection_spaces_the_frames_of_a_model_evenly():
    """Against coefficients far from even, by the distance that was asked for; all that was seen is recorded."""
    pipe, wanted = SD1.pipeline(), arguments(SD1) | {"config": FULL, "frames": 7}
    skewed = interpolate(pipe, *PROMPTS, coefficients=BetaPrior(1, 4), **wanted).images
    chosen = interpolate(pipe, *PROMPTS, select=DYNAMIC, **wanted)

    def spread(images):
        steps = colours(images[:-1], images[1:])
        return (steps.max() - steps.min()).item()

    assert spread(chosen.images) < spread(skewed) / 4
    record = chosen.settings["selection"]
    assert record["distances"] == pytest.approx(colours(chosen.images[:-1], chosen.images[1:]).tolist(), abs=1e-6)
    assert len(record["explored"]) == len(record["explored_distances"]) + 1 == 10
    json.dumps(chosen.settings, allow_nan=False)
    assert chosen.settings["unrecorded"] == ["select"]  # a callable


def test_progress_counts_all_calls():
    seen = []
    interpolate(
        SD1.pipeline(),
        *PROMPTS,
        frames=5,
        select=DYNAMIC,
        progress=lambda done, total: seen.append((done, total)),
        **arguments(SD1),
    )
    assert seen[0] == (0, seen[0][1])
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len({total for _, total in seen}) == 1
    assert seen[-1][0] == seen[-1][1]


def test_frames_that_are_not_finite_are_reported_by_number():
    pipe = SD1.fresh()
    decode = pipe.vae.decode

    def overflowing(latents, *args, **kwargs):
        output = decode(latents, *args, **kwargs)
        output[0][1:-1] = float("nan")
        return output

    pipe.vae.decode = overflowing
    with pytest.warns(UserWarning, match="hold NaN"):
        made = interpolate(pipe, *PROMPTS, frames=5, select=DYNAMIC, **arguments(SD1))
    assert len(made.settings["selection"]["not_finite_at"]) == 7 - 2
    assert set(made.not_finite) == {
        index for index, t in enumerate(made.coefficients) if t in made.settings["selection"]["not_finite_at"]
    }


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"select": "best"}, SelectionError, "dynamic, bayes"),
        ({"select": 3}, SelectionError, "a Selection, got 3"),
        ({"select": Selection(distance="ssim")}, DistanceError, "one of miniature"),
        ({"select": Selection(distance="clip:/nowhere")}, DistanceError, "nowhere"),
        ({"select": Selection(explore=4)}, SelectionError, "explore at least 5"),
        ({"select": DYNAMIC, "frames": 2}, SelectionError, "nothing to select"),
        ({"select": DYNAMIC, "coefficients": [0, 0.2, 0.5, 0.9, 1]}, SelectionError, "leave coefficients out"),
        ({"select": DYNAMIC, "latents": torch.randn(5, 4, 8, 8)}, LatentsError, "of the two endpoints"),
        ({"select": DYNAMIC, "guide": ["a", "b", "c"]}, PromptError, "one prompt for all"),
        ({"select": DYNAMIC, "output_type": "latent"}, ArgumentError, "compares images"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_bad_input_is_said_before_any_denoising(wrong, error, said):
    pipe = SD1.pipeline()
    with Rows(pipe) as rows, pytest.raises(error, match=said):
        interpolate(pipe, *PROMPTS, **arguments(SD1) | {"frames": 5} | wrong)
    assert not rows.calls

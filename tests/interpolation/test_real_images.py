"""Real images at the ends: pinned to the autoencoder's reconstruction, whatever lies between."""

import logging

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from aid_pipeline import AIDConfig, Keyframe, interpolate, invert
from aid_pipeline import errors as e

from ..support.families import FAMILIES

SIZE = {"height": 16, "width": 16}
CALL = {"frames": 4, "num_inference_steps": 4, **SIZE}


def image(seed, size=(16, 16)):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(params=["sd1", "sd2", "sdxl", "sd3", "flux"])
def pipe(request):
    return FAMILIES[request.param].pipeline()


def reconstruction(pipe, inverted):
    """By the stock call's own decoding of the clean latents."""
    latents = inverted.latents[-1:]
    if hasattr(pipe, "_unpack_latents"):
        latents = pipe._unpack_latents(latents, 16, 16, pipe.vae_scale_factor)
    latents = latents / pipe.vae.config.scaling_factor
    if pipe.vae.config.get("shift_factor") is not None:
        latents = latents + pipe.vae.config.shift_factor
    with torch.no_grad():
        decoded = pipe.vae.decode(latents, return_dict=False)[0]
    return pipe.image_processor.postprocess(decoded, output_type="pt")[0]


def frames(pipe, a, b, **arguments):
    return interpolate(pipe, a, b, output_type="pt", **CALL | arguments).images


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("path", ["inverted", "noised"])
def test_ends_are_the_reconstruction_bit_for_bit(pipe, path, guidance):
    first, last = (invert(pipe, image(seed), "a", 4, path=path, iterations=1, **SIZE) for seed in (1, 2))
    made = frames(pipe, Keyframe("a", first), Keyframe("b", last), guidance_scale=guidance)
    torch.testing.assert_close(made[0], reconstruction(pipe, first), rtol=0, atol=0)
    torch.testing.assert_close(made[-1], reconstruction(pipe, last), rtol=0, atol=0)
    assert made.isfinite().all()
    for interior in made[1:-1]:
        assert all((interior - end).abs().max() > 1e-3 for end in (made[0], made[-1]))


def test_chunks_and_modes_keep_the_ends():
    pipe = FAMILIES["sd1"].pipeline()
    ends = Keyframe("a", invert(pipe, image(1), "a", 4, **SIZE)), Keyframe("b", invert(pipe, image(2), "b", 4, **SIZE))
    whole = frames(pipe, *ends)
    torch.testing.assert_close(frames(pipe, *ends, chunk=3), whole, rtol=0, atol=2e-5)
    for config in (AIDConfig("inner"), AIDConfig("none"), AIDConfig("outer", fuse_self=False, warmup=1.0)):
        other = frames(pipe, *ends, config=config)
        torch.testing.assert_close(other[[0, -1]], whole[[0, -1]], rtol=0, atol=0)
        assert not torch.equal(other[1], whole[1])


def test_interior_frames_are_those_of_the_stock_start(pipe):
    """Without attention between frames, interior frame i is a stock call from the slerp of both noises."""
    first, last = (invert(pipe, image(seed), "a", 4, iterations=1, **SIZE) for seed in (1, 2))
    near = frames(
        pipe, Keyframe("a", first), Keyframe("a", last), coefficients=(0, 1e-4, 0.5, 1), config=AIDConfig("none"),
        guidance_scale=1.0,
    )  # fmt: skip
    own = interpolate(
        pipe, Keyframe("a", first), Keyframe("a", first), config=AIDConfig("none"), guidance_scale=1.0,
        output_type="pt", **CALL,
    ).images  # fmt: skip
    assert (near[1] - own[1]).abs().max() < 0.02
    assert (near[2] - own[1]).abs().max() > 0.02


def test_images_and_files_are_inverted_by_the_call(tmp_path):
    pipe = FAMILIES["sd1"].pipeline()
    image(1, (24, 40)).save(tmp_path / "a.png")
    made = frames(pipe, Keyframe("a", tmp_path / "a.png"), Keyframe("b", image(2)))
    by_hand = invert(pipe, tmp_path / "a.png", "a", 4, **SIZE)
    torch.testing.assert_close(made[0], reconstruction(pipe, by_hand), rtol=0, atol=0)
    same = frames(pipe, Keyframe("a", by_hand), Keyframe("b", invert(pipe, image(2), "b", 4, **SIZE)))
    torch.testing.assert_close(same, made, rtol=0, atol=0)


@pytest.mark.parametrize("output_type", ["pil", "pt", "np"])
def test_the_files_themselves_at_the_ends(output_type):
    pipe = FAMILIES["sd1"].pipeline()
    ends = Keyframe("a", image(1)), Keyframe("b", image(2))
    made = interpolate(pipe, *ends, keep_ends="file", output_type=output_type, **CALL)
    assert len(made.images) == 4
    shown = made.pil_images()
    np.testing.assert_array_equal(np.asarray(shown[0]), np.asarray(image(1)))
    np.testing.assert_array_equal(np.asarray(shown[-1]), np.asarray(image(2)))


def test_one_end_may_be_text_alone():
    pipe = FAMILIES["sd1"].pipeline()
    made = frames(pipe, Keyframe("a", image(1)), "b", seed=3)
    torch.testing.assert_close(made[-1], frames(pipe, "a", "b", seed=3)[-1], rtol=0, atol=2e-5)
    assert (made[0] - frames(pipe, "a", "b", seed=3)[0]).abs().max() > 0.05


def test_without_text_nothing_is_guided(caplog):
    """Both predictions are the same, so guidance changes nothing and costs no rows."""
    pipe = FAMILIES["sd1"].pipeline()
    rows = []
    hook = pipe.unet.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    ends = [Keyframe("", invert(pipe, image(seed), "", 4, **SIZE)) for seed in (1, 2)]
    rows.clear()
    with caplog.at_level(logging.WARNING, logger="aid_pipeline"):
        made = interpolate(pipe, *ends, guidance_scale=7.0, chunk=100, **CALL)
    hook.remove()
    assert rows == [4] * 4
    assert made.settings["arguments"]["guidance_scale"] == 1.0
    assert not caplog.records


def test_less_strength_starts_between_the_images():
    pipe = FAMILIES["sd1"].pipeline()
    ends = [Keyframe("a", invert(pipe, image(seed), "a", 4, **SIZE)) for seed in (1, 2)]
    full, half, least = (frames(pipe, *ends, strength=strength) for strength in (1.0, 0.5, 0.01))
    for made in (half, least):
        torch.testing.assert_close(made[[0, -1]], full[[0, -1]], rtol=0, atol=0)
        assert (made[1] - full[1]).abs().max() > 1e-3
    assert not torch.equal(half[1], least[1])


def test_noised_ends_work_on_a_scheduler_with_noise():
    pipe = FAMILIES["sd1"].fresh()
    pipe.scheduler = diffusers.LCMScheduler.from_config(pipe.scheduler.config)
    made = frames(pipe, Keyframe("a", image(1)), Keyframe("b", image(2)), path="noised")
    torch.testing.assert_close(
        made[0], reconstruction(pipe, invert(pipe, image(1), "", 1, path="noised", **SIZE)), rtol=0, atol=0
    )


def test_dynamic_selection_keeps_the_ends():
    pipe = FAMILIES["sd1"].pipeline()
    first, last = (invert(pipe, image(seed), "a", 4, iterations=1, **SIZE) for seed in (1, 2))
    made = frames(pipe, Keyframe("a", first), Keyframe("b", last), select="dynamic")
    torch.testing.assert_close(made[0], reconstruction(pipe, first), rtol=0, atol=0)
    torch.testing.assert_close(made[-1], reconstruction(pipe, last), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"num_inference_steps": 5}, e.InversionError, "has 4 steps, the sequence 5"),
        ({"height": 24}, e.InversionError, "at the height and width of the sequence"),
        ({"keep_ends": "both"}, e.ArgumentError, "keep_ends must be one of vae, file"),
        ({"path": "x"}, e.ArgumentError, "path must be one of"),
        ({"strength": 0}, e.ArgumentError, "strength must be"),
        ({"strength": True}, e.ArgumentError, "strength must be"),
        ({"keep_ends": "file", "output_type": "latent"}, e.ArgumentError, "needs images"),
        ({"latents": torch.zeros(2, 4, 8, 8)}, e.ArgumentError, "leave latents out"),
        ({"denoising_end": 0.5}, e.ArgumentError, "denoising_end"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_what_does_not_fit_is_named(wrong, error, said):
    pipe = FAMILIES["sd1"].pipeline()
    end = Keyframe("a", invert(pipe, image(1), "a", 4, path="noised", **SIZE))
    with pytest.raises(error, match=said):
        interpolate(pipe, end, "b", **CALL | wrong)


def test_another_models_inversion_and_other_schedulers_are_refused():
    pipe, other = FAMILIES["sd1"].pipeline(), FAMILIES["sd2"].pipeline()
    own, foreign = (Keyframe("a", invert(of, image(1), "a", 4, path="noised", **SIZE)) for of in (pipe, other))
    with pytest.raises(e.InversionError, match="of another model: unet"):
        interpolate(pipe, own, foreign, **CALL)
    changed = FAMILIES["sd1"].fresh()
    changed.scheduler = diffusers.EulerDiscreteScheduler.from_config(changed.scheduler.config)
    euler = Keyframe("b", invert(changed, image(2), "b", 4, path="noised", **SIZE))
    with pytest.raises(e.InversionError, match="different schedulers"):
        interpolate(pipe, own, euler, **CALL)


def test_keyframes_of_another_kind_are_named():
    pipe = FAMILIES["sd1"].pipeline()
    with pytest.raises(e.PromptError, match=r"prompt_a is an image; give Keyframe\(real=image\)"):
        interpolate(pipe, image(1), "b", **CALL)
    with pytest.raises(e.PromptError, match="real must be an image file"):
        Keyframe("a", 3)
    with pytest.raises(e.PromptError, match="prompt_b is empty"):
        interpolate(pipe, "a", Keyframe(), **CALL)
    with pytest.raises(e.ArgumentError, match="keep_ends"):
        interpolate(pipe, "a", "b", keep_ends="file", **CALL)
    with pytest.raises(e.InversionError, match="starts from an image of its own"):
        interpolate(diffusers.AutoPipelineForImage2Image.from_pipe(pipe), Keyframe("a", image(1)), "b", frames=3)

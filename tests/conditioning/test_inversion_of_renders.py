"""Inversion on the trained miniature: what its steps make of the inverted noise is the image that was inverted."""

import numpy as np
import pytest
import torch
from PIL import Image

from aid_pipeline import Keyframe, interpolate, invert, load_model
from aid_pipeline.miniature.scenes import caption, random_scenes, render

STEPS = 25


def psnr(made, image):
    return -10 * np.log10(np.square((np.asarray(made, float) - np.asarray(image, float)) / 255).mean())


@pytest.mark.slow
def test_round_trip_without_guidance_and_pins_with_guidance():
    pipe = load_model(device="cpu", dtype="float32")
    pipe.set_progress_bar_config(disable=True)
    scenes = random_scenes(5, 3)
    images, texts = [Image.fromarray(pixels) for pixels in render(scenes)], [caption(scene, 0, 1.0) for scene in scenes]
    inverted = [invert(pipe, image, text, STEPS, iterations=2) for image, text in zip(images, texts, strict=True)]
    found = []
    for image, text, inversion in zip(images, texts, inverted, strict=True):
        made = pipe(text, num_inference_steps=STEPS, guidance_scale=1.0, latents=inversion.latents[:1]).images[0]
        found.append(psnr(made, image))
    assert np.mean(found) >= 35
    assert min(found) >= 30

    first, last = (Keyframe(text, inversion) for text, inversion in zip(texts[:2], inverted[:2], strict=True))
    made = interpolate(pipe, first, last, frames=3, num_inference_steps=STEPS, guidance_scale=5.0, output_type="pt")
    for frame, inversion in ((made.images[0], inverted[0]), (made.images[-1], inverted[1])):
        with torch.no_grad():
            decoded = pipe.vae.decode(inversion.latents[-1:] / pipe.vae.config.scaling_factor, return_dict=False)[0]
        expected = pipe.image_processor.postprocess(decoded, output_type="pt")[0]
        torch.testing.assert_close(frame, expected, rtol=0, atol=0)
        assert inversion.psnr == pytest.approx(psnr(255 * expected.permute(1, 2, 0).numpy(), inversion.image), abs=0.01)

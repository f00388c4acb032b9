"""Images and clips that a video pipeline is given, and loops that are not seen."""

import inspect

import diffusers
import numpy as np
import PIL.Image
import pytest
import torch

from aid_pipeline import AIDConfig, interpolate
from aid_pipeline.errors import ArgumentError, UnsupportedPipelineError
from aid_pipeline.sampling.clip_inputs import for_each_frame
from tests.support.video_pipelines import CALL, fresh

A, B = "a red sphere", "the blue cube"
FULL = AIDConfig(warmup=1.0, impl="sdpa")
CLIP = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
IMAGE = PIL.Image.fromarray((CLIP[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8))
AS_IMAGES = [PIL.Image.fromarray((image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)) for image in CLIP]


def kin(cls, name):
    """A pipeline of another class with a tiny pipeline's parts."""
    pipe = cls(**fresh(name).components)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def call_of(pipe, **more):
    parameters = inspect.signature(pipe.__call__).parameters
    return {name: value for name, value in CALL.items() if name in parameters} | {"output_type": "latent"} | more


def apart(a, b):
    return float((a - b).abs().max()) / max(1.0, float(b.abs().max()))


@pytest.mark.parametrize(
    ("cls", "name", "inputs"),
    [
        (diffusers.LTXImageToVideoPipeline, "ltx", {"image": IMAGE}),
        (diffusers.LTXConditionPipeline, "ltx", {"image": IMAGE}),
        (diffusers.CogVideoXVideoToVideoPipeline, "cogvideox", {"video": AS_IMAGES, "strength": 1.0}),
    ],
    ids=["image", "condition", "video"],
)
def test_an_image_or_a_clip_goes_to_every_frame(cls, name, inputs):
    pipe = kin(cls, name)
    call = call_of(pipe, **inputs)
    made = interpolate(pipe, A, B, frames=4, config=FULL, **call).images
    for index, prompt in ((0, A), (-1, B)):
        one = pipe(prompt=prompt, generator=torch.Generator().manual_seed(0), guidance_scale=5.0, **call).frames[0]
        assert apart(made[index], one) < 1e-5
    plain = interpolate(pipe, A, B, frames=4, config=AIDConfig(mode="none"), **call).images
    assert apart(made[1:-1], plain[1:-1]) > 1e-5


def test_every_form_of_an_input_is_repeated():
    assert for_each_frame({"image": IMAGE, "prompt": "x"}, 3) == {"image": [IMAGE] * 3}
    assert for_each_frame({"video": AS_IMAGES}, 2)["video"] == [AS_IMAGES] * 2
    assert for_each_frame({"video": [AS_IMAGES, AS_IMAGES]}, 2)["video"] == [AS_IMAGES] * 2
    assert for_each_frame({"video": CLIP}, 3)["video"].shape == (3, *CLIP.shape)
    assert for_each_frame({"video": CLIP[None].numpy()}, 3)["video"].shape == (3, *CLIP.shape)
    assert for_each_frame({"image": CLIP[0]}, 3)["image"].shape == (3, 3, 32, 32)
    with pytest.raises(ArgumentError, match="got 2"):
        for_each_frame({"image": CLIP[:2]}, 3)


def test_an_input_that_fits_in_no_form_is_one_typed_line():
    pipe = kin(diffusers.CogVideoXVideoToVideoPipeline, "cogvideox")
    with pytest.raises(ArgumentError, match="CogVideoXVideoToVideoPipeline refuses the call, with video once"):
        interpolate(pipe, A, B, frames=3, config=FULL, **call_of(pipe, video=torch.rand(5, 2, 32, 32)))


def test_a_loop_whose_beginning_is_not_seen_is_refused():
    class OwnBar(diffusers.LTXPipeline):
        @property
        def progress_bar(self):
            return super().progress_bar

        @progress_bar.setter
        def progress_bar(self, value):
            """Keeps its own, as a pipeline with a bar of another kind does."""

    pipe = kin(OwnBar, "ltx")
    with pytest.raises(UnsupportedPipelineError, match="progress bar"):
        interpolate(pipe, A, B, frames=2, config=FULL, **call_of(pipe))

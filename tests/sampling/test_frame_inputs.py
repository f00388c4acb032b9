"""Images of a stock call: one for all frames, or one for each where the pipeline wants that."""

import diffusers
import numpy as np
import PIL.Image
import pytest
import torch

from aid_pipeline import interpolate
from aid_pipeline.errors import ArgumentError
from aid_pipeline.sampling.frame_inputs import image_for_each_frame
from tests.support.families import FAMILIES, PIXELS, PROMPTS
from tests.support.interpolation import FULL, arguments

SD1 = FAMILIES["sd1"]


def with_adapter():
    pipe = SD1.fresh()
    with torch.random.fork_rng():
        torch.manual_seed(14)
        adapter = diffusers.T2IAdapter(in_channels=3, channels=[16, 32], num_res_blocks=1, downscale_factor=2)
    components = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
    pipe = diffusers.StableDiffusionAdapterPipeline(
        **components, adapter=adapter.eval().requires_grad_(False), requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_every_kind_of_image_is_repeated():
    picture, tensor = PIL.Image.new("RGB", (4, 4)), torch.rand(3, 4, 4)
    call = {"image": picture, "mask_image": tensor, "control_image": tensor[None].numpy(), "prompt": "x"}
    each = image_for_each_frame(call, 3)
    assert each.keys() == {"image", "mask_image", "control_image"}
    assert each["image"] == [picture] * 3
    assert torch.equal(each["mask_image"], torch.stack([tensor] * 3))
    assert np.array_equal(each["control_image"], each["mask_image"].numpy())


def test_lists_are_one_for_each_frame_or_one_for_each_network():
    one, two = PIL.Image.new("L", (4, 4), 1), PIL.Image.new("L", (4, 4), 2)
    assert image_for_each_frame({"image": [one] * 3}, 3)["image"] == [one] * 3
    assert image_for_each_frame({"image": [one]}, 3)["image"] == [one] * 3
    assert image_for_each_frame({"image": [one, two]}, 3)["image"] == [[one] * 3, [two] * 3]
    with pytest.raises(ArgumentError, match="control_image must be one image, or one for each of the 3 frames; got 2"):
        image_for_each_frame({"control_image": torch.rand(2, 3, 4, 4)}, 3)


@pytest.mark.parametrize("cfg", [True, False], ids=["guidance", "alone"])
def test_a_t2i_adapter_takes_one_image_for_all_frames(cfg):
    pipe, image = with_adapter(), torch.rand(1, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(15))
    wanted = arguments(SD1, cfg=cfg, image=image)
    frames = interpolate(pipe, *PROMPTS, frames=4, config=FULL, **wanted).images  # an array, as of the stock call
    for index, prompt in ((0, PROMPTS[0]), (-1, PROMPTS[1])):
        alone = pipe(prompt=prompt, generator=torch.Generator().manual_seed(0), **wanted).images[0]
        assert np.abs(frames[index] - alone).max() < 1e-4
    other = interpolate(pipe, *PROMPTS, frames=4, config=FULL, **wanted | {"image": 1 - image}).images
    assert np.abs(frames - other).max() > 1e-3


def test_images_that_fit_in_no_form_are_one_typed_line():
    wanted = arguments(SD1, image=torch.rand(1, 3, PIXELS + 3, 5))
    with pytest.raises(ArgumentError, match="StableDiffusionAdapterPipeline refuses the call, with image once"):
        interpolate(with_adapter(), *PROMPTS, frames=3, config=FULL, **wanted)

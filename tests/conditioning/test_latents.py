"""Noise between the endpoints, and the images that image-to-image starts from."""

import math

import pytest
import torch
from PIL import Image

from aid_pipeline.conditioning.latents import FrameNoise, image_of_each_frame, slerp
from aid_pipeline.errors import ArgumentError, LatentsError
from tests.support.families import FAMILIES, PIXELS, latent_shape


def test_slerp_turns_by_the_share_of_one_angle():
    first, last = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    turned = slerp(first, last, (0.0, 1 / 3, 1.0))
    assert torch.equal(turned[0], first)
    assert torch.equal(turned[2], last)
    torch.testing.assert_close(turned[1], torch.tensor([2 * math.cos(math.pi / 6), 2 * math.sin(math.pi / 6)]))
    assert torch.equal(slerp(first, first, (0.4,))[0], first)
    with pytest.raises(LatentsError, match="opposite"):
        slerp(first, -first, (0.5,))


@pytest.mark.parametrize("name", ["sd1", "sd3", "flux", "pixart_sigma"])
@pytest.mark.parametrize("rows", [2, 3])
def test_given_latents_are_packed_and_slerped(name, rows):
    """As the stock call would take them; FLUX takes packed ones too."""
    pipe, t = FAMILIES[name].fresh(), (0.0, 0.4, 1.0)
    given = torch.randn(rows, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    call = (3, 4, PIXELS, PIXELS, torch.float32, torch.device("cpu"), None, None)
    noise = FrameNoise(t, (0, 0), given)
    noise.install(pipe)
    latents = pipe.prepare_latents(*call)
    latents = latents[0] if isinstance(latents, tuple) else latents
    assert latents.shape == (3, *latent_shape(pipe))
    packed = latents / getattr(pipe.scheduler, "init_noise_sigma", 1.0)
    again = FAMILIES[name].fresh()
    FrameNoise(t, (0, 0), packed).install(again)
    same = again.prepare_latents(*call)
    torch.testing.assert_close(same[0] if isinstance(same, tuple) else same, latents)
    if rows == 2:
        mixed = slerp(packed[0], packed[2], t)
        torch.testing.assert_close(packed, mixed)


def test_latents_of_another_shape():
    pipe = FAMILIES["flux"].fresh()
    FrameNoise((0.0, 1.0), (0, 0), torch.zeros(2, 4, 8, 9)).install(pipe)
    with pytest.raises(LatentsError, match=r"\(2, 4, 8, 8\) at 16x16"):
        pipe.prepare_latents(2, 4, PIXELS, PIXELS, torch.float32, torch.device("cpu"), None, None)


@pytest.mark.parametrize(
    "image", [Image.new("RGB", (4, 4)), [Image.new("RGB", (4, 4))], torch.zeros(3, 4, 4), torch.zeros(1, 3, 4, 4)]
)
def test_one_image_is_repeated(image):
    assert len(image_of_each_frame(image, 3)) == 3


def test_images_of_all_frames_stay_and_other_counts_are_refused():
    batch = torch.zeros(3, 3, 4, 4)
    assert image_of_each_frame(batch, 3) is batch
    with pytest.raises(ArgumentError, match="got 3"):
        image_of_each_frame(batch, 5)

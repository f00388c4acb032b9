"""Stock arguments that pass through `interpolate`: images, adapters, second prompts."""

import diffusers
import pytest
import torch

from aid_pipeline import AIDConfig, interpolate

from ..support.families import FAMILIES, PIXELS, PROMPTS
from ..support.interpolation import FULL, arguments
from ..support.stock_pipelines import sd1
from ..support.variations import with_controlnet

SD1 = FAMILIES["sd1"]


def test_image_to_image_passes_through():
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**SD1.fresh().components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    image = torch.rand(1, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))
    wanted = arguments(SD1, image=image, strength=0.5) | {"num_inference_steps": 6}
    del wanted["height"], wanted["width"]
    counted = []
    frames = interpolate(
        pipe, *PROMPTS, frames=3, config=FULL, progress=lambda *step: counted.append(step), **wanted
    ).images
    assert counted[-1] == (3, 3)
    alone = pipe(prompt=PROMPTS[1], generator=torch.Generator().manual_seed(0), **wanted).images[0]
    assert (frames[-1] - alone).abs().max() < 1e-4
    with pytest.raises(ValueError, match="takes no two seeds"):
        interpolate(pipe, *PROMPTS, seed=(0, 1), **wanted)
    with pytest.raises(ValueError, match="takes no height"):
        interpolate(pipe, *PROMPTS, height=PIXELS, **wanted)


@pytest.mark.parametrize(
    ("name", "kind", "more"),
    [
        ("sdxl", diffusers.StableDiffusionXLImg2ImgPipeline, {}),
        ("sd3", diffusers.StableDiffusion3Img2ImgPipeline, {"height": PIXELS, "width": PIXELS}),
        ("flux", diffusers.FluxImg2ImgPipeline, {"height": PIXELS, "width": PIXELS}),
        ("sd1", diffusers.StableDiffusionInpaintPipeline, {"height": PIXELS, "width": PIXELS, "mask": True}),
    ],
    ids=lambda value: getattr(value, "__name__", "") if isinstance(value, type) else "",
)
def test_pipelines_that_start_from_an_image_give_all_frames_the_same_noise(name, kind, more):
    """The VAE draws from a frame's generator before the noise does, so the image is given once per frame."""
    family = FAMILIES[name]
    pipe = kind(**family.fresh().components, **({"requires_safety_checker": False} if name == "sd1" else {}))
    pipe.set_progress_bar_config(disable=True)
    image = torch.rand(1, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))
    wanted = arguments(family, image=image, strength=0.5) | {"num_inference_steps": 6}
    del wanted["height"], wanted["width"]
    wanted |= {key: value for key, value in more.items() if key != "mask"}
    if "mask" in more:
        wanted["mask_image"] = (torch.arange(PIXELS) > 8).float().expand(1, 1, PIXELS, PIXELS)
    frames = interpolate(pipe, *PROMPTS, frames=3, config=FULL, **wanted).images
    for index, prompt in ((0, PROMPTS[0]), (2, PROMPTS[1])):
        alone = pipe(prompt=prompt, generator=torch.Generator().manual_seed(0), **wanted).images[0]
        assert (frames[index] - alone).abs().max() < 1e-4
    with pytest.raises(ValueError, match="one for each of the 3 frames; got 2"):
        interpolate(pipe, *PROMPTS, frames=3, **wanted | {"image": torch.cat([image, image])})


def test_consistency_models_take_guidance_as_an_embedding():
    parts = sd1(time_cond_proj_dim=8).components
    parts["scheduler"] = diffusers.LCMScheduler.from_config(parts["scheduler"].config)
    pipe = diffusers.LatentConsistencyModelPipeline(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    wanted = arguments(SD1, guidance_scale=8.0) | {"guidance_scale": 8.0}
    del wanted["negative_prompt"]
    frames = interpolate(pipe, *PROMPTS, frames=3, config=FULL, **wanted).images
    alone = pipe(prompt=PROMPTS[1], generator=torch.Generator().manual_seed(0), **wanted).images[0]
    assert (frames[-1] - alone).abs().max() < 1e-4
    with pytest.raises(ValueError, match="this model takes none"):
        interpolate(pipe, *PROMPTS, negative_prompt="x", **wanted)


def test_controlnet_passes_through():
    pipe = with_controlnet(SD1.fresh())
    image = torch.rand(1, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))
    wanted = arguments(SD1, image=image, controlnet_conditioning_scale=0.8)
    for mode in ("outer", "denoising"):
        frames = interpolate(pipe, *PROMPTS, frames=3, config=AIDConfig(mode=mode), **wanted).images
        alone = pipe(prompt=PROMPTS[1], generator=torch.Generator().manual_seed(0), **wanted).images[0]
        assert (frames[-1] - alone).abs().max() < 1e-4


def test_a_second_prompt_goes_to_the_second_encoder():
    family = FAMILIES["sdxl"]
    pipe, wanted = family.pipeline(), arguments(family)
    frames = interpolate(pipe, *PROMPTS, frames=3, prompt_2="style", **wanted).images
    alone = pipe(prompt=PROMPTS[1], prompt_2="style", generator=torch.Generator().manual_seed(0), **wanted).images[0]
    assert (frames[-1] - alone).abs().max() < 1e-4

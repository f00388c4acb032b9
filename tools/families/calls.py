"""A small stock call of every pipeline class: what its signature asks for, at the size of the tiny models."""

from __future__ import annotations

import inspect
from typing import Any

PIXELS = 64
STEPS = 3
GUIDANCE = 3.0
TOKENS = 48
FRAMES = 5  # of one clip
VALUES: dict[str, Any] = {
    "num_inference_steps": STEPS,
    "guidance_scale": GUIDANCE,
    "height": PIXELS,
    "width": PIXELS,
    "max_sequence_length": TOKENS,
    "num_frames": FRAMES,
    "video_length": FRAMES,
    "strength": 0.8,
    "use_resolution_binning": False,
    "clean_caption": False,
}
GIVEN_BY_KIND = {
    "image": "image",
    "mask_image": "mask",
    "control_mask": "mask",
    "original_image": "image",
    "control_image": "image",
    "control_guidance_image": "image",
    "video": "clip",
    "conditioning_frames": "clip",
}
KINDS = ("image", "mask", "clip")
# the stock one is longer in letters than its pipelines read
PLAIN_TEMPLATE = {"template": "{}", "crop_start": 0}
# what a class asks for beside that, and values of its own
BY_CLASS: dict[str, dict[str, Any]] = {
    "Flux2Pipeline": {"max_sequence_length": 512},
    "LongCatImagePipeline": {"enable_prompt_rewrite": False},
    "Lumina2Pipeline": {"max_sequence_length": 320},
    "SanaSprintPipeline": {"num_inference_steps": 2},
    "SanaSprintImg2ImgPipeline": {"num_inference_steps": 2},
    "CogVideoXPipeline": {"max_sequence_length": 64},
    "CogVideoXImageToVideoPipeline": {"max_sequence_length": 64},
    "CogVideoXVideoToVideoPipeline": {"max_sequence_length": 64},
    "CogVideoXFunControlPipeline": {"max_sequence_length": 64, "control_video": "clip"},
    "StableDiffusionXLControlNetUnionPipeline": {"control_mode": 0},
    "StableDiffusionXLControlNetUnionImg2ImgPipeline": {"control_mode": 0},
    "StableDiffusionXLControlNetUnionInpaintPipeline": {"control_mode": 0},
    "FluxKontextPipeline": {"max_area": PIXELS**2, "_auto_resize": False},
    "FluxKontextInpaintPipeline": {"max_area": PIXELS**2, "_auto_resize": False},
    "Kandinsky5T2IPipeline": {"max_sequence_length": 512},
    "Kandinsky5T2VPipeline": {"max_sequence_length": 512},
    "HunyuanVideoPipeline": {"prompt_template": PLAIN_TEMPLATE},
    "HunyuanSkyreelsImageToVideoPipeline": {"prompt_template": PLAIN_TEMPLATE},
    "NucleusMoEImagePipeline": {"max_sequence_length": 512},
    "LTXImageToVideoPipeline": {"num_frames": 9},
    "LTX2ImageToVideoPipeline": {"num_frames": 9},
    "AnimateDiffSparseControlNetPipeline": {"conditioning_frames": "image"},
    "AnyFlowFARPipeline": {"chunk_partition": [1, 1]},
    "AnimateDiffControlNetPipeline": {"conditioning_frames": "clip"},
    "AnimateDiffVideoToVideoControlNetPipeline": {"conditioning_frames": "clip"},
    "Ideogram4Pipeline": {"guidance_schedule": None},
}


def arguments(name: str, cls: type) -> dict[str, Any]:
    """Arguments of one stock call of a class, prompt, generator and output type aside."""
    taken = inspect.signature(cls.__call__).parameters
    call = {argument: value for argument, value in VALUES.items() if argument in taken}
    for argument, kind in GIVEN_BY_KIND.items():
        if (argument in taken and taken[argument].default is inspect.Parameter.empty) or _asked(name, argument, taken):
            call[argument] = picture(kind)
    own = BY_CLASS.get(name, {})
    return call | {
        name: picture(value) if isinstance(value, str) and value in KINDS else value for name, value in own.items()
    }


def _asked(name: str, argument: str, taken: Any) -> bool:
    """Whether a class that allows None for an argument cannot do without it."""
    if argument not in taken:
        return False
    if argument == "image":
        return any(
            word in name
            for word in (
                *("Img2Img", "Inpaint", "ImageToVideo", "Edit", "Image2Video", "I2I", "I2V", "Kontext", "Adapter"),
                *("Upscale", "SuperResolution", "Pix2Pix", "Depth", "Refiner", "Fill", "Layered"),
            )
        ) or ("ControlNet" in name and "control_image" not in taken)
    words = {
        "mask_image": ("Inpaint", "Fill"),
        "control_mask": ("Inpaint",),
        "original_image": ("SuperResolution",),
        "control_image": ("Control",),
        "video": ("VideoToVideo",),
    }
    return any(word in name for word in words.get(argument, ()))


def picture(kind: str, side: int = PIXELS) -> Any:
    """An image with a gradient and a square, a mask of half of it, or a clip of such images."""
    from PIL import Image, ImageDraw

    if kind == "clip":
        return [picture("image", side).rotate(10 * index) for index in range(FRAMES)]
    if kind == "mask":
        drawn = Image.new("L", (side, side))
        ImageDraw.Draw(drawn).rectangle((0, 0, side // 2, side), fill=255)
        return drawn
    drawn = Image.linear_gradient("L").resize((side, side)).convert("RGB")
    ImageDraw.Draw(drawn).rectangle((side // 4, side // 4, side // 2, side // 2), fill=(200, 40, 40))
    return drawn

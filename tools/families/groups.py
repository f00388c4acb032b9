"""Pipeline classes of the installed diffusers, by what they make and what they are given."""

from __future__ import annotations

import inspect
import re
import warnings

GROUPS = ("text-to-image", "image-to-image", "inpaint", "control", "video", "audio and other")
OTHER = re.compile(r"Audio|Music|AceStep|ShapE|LLaDA|DiffusionGemma|Prior|UniDiffuser|Cosmos3|Redux|Refiner2")
CONTROL = re.compile(r"Control|Adapter|GLIGEN|Depth2Img")
VIDEO_ARGUMENTS = ("num_frames", "video_length", "video", "num_video_frames", "frames_per_chunk")


def classes() -> dict[str, type]:
    """Every class of the installed diffusers that takes a prompt, by name."""
    return {name: cls for name, cls in _pipelines().items() if takes_prompt(cls)}


def without_prompt() -> list[str]:
    """Names of the others: there is nothing to interpolate between."""
    return [name for name, cls in _pipelines().items() if not takes_prompt(cls)]


def group_of(name: str, cls: type) -> str:
    """The group of a class, one of `GROUPS`."""
    taken = inspect.signature(cls.__call__).parameters
    if OTHER.search(name):
        return "audio and other"
    if any(argument in taken for argument in VIDEO_ARGUMENTS) or "Video" in name:
        return "video"
    if CONTROL.search(name):
        return "control"
    if "mask_image" in taken or "Inpaint" in name:
        return "inpaint"
    needs_image = "image" in taken and taken["image"].default is inspect.Parameter.empty
    if needs_image or re.search(r"Img2Img|Image2Image|Edit|I2I|Upscale|SuperResolution|Pix2Pix|Kontext", name):
        return "image-to-image"
    return "text-to-image"


def missing_packages() -> dict[str, str]:
    """Classes that the installed packages do not allow, each with the packages that they ask for."""
    import diffusers

    found = {}
    for name in sorted(name for name in dir(diffusers) if name.endswith("Pipeline")):
        cls = getattr(diffusers, name)
        if ".dummy_" in getattr(cls, "__module__", ""):
            found[name] = ", ".join(package for package in cls._backends if package not in ("torch", "transformers"))
    return found


def is_deprecated(cls: type) -> bool:
    return ".deprecated." in cls.__module__


def takes_prompt(cls: type) -> bool:
    return "prompt" in inspect.signature(cls.__call__).parameters


def _pipelines() -> dict[str, type]:
    import diffusers

    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in sorted(name for name in dir(diffusers) if name.endswith("Pipeline")):
            cls = getattr(diffusers, name)
            own = inspect.isclass(cls) and issubclass(cls, diffusers.DiffusionPipeline)
            if own and cls is not diffusers.DiffusionPipeline:
                found[name] = cls
    return found

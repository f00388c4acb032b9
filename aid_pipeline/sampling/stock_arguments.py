"""Arguments of the stock call and their checks."""

from __future__ import annotations

import difflib
import inspect
import math
from typing import Any

from torch import Tensor

from ..errors import ArgumentError
from ..families import find_denoiser, requires_image, size_divisor

OUTPUT_TYPES = ("pil", "pt", "np", "latent")

# Stock arguments that `interpolate` sets itself, and what to use instead.
SET_HERE = {
    "prompt": "the two prompts come first",
    "prompt_embeds": "use `with aid(...)` around a stock call for embeddings of your own",
    "negative_prompt_embeds": "use negative_prompt",
    "pooled_prompt_embeds": "use `with aid(...)` around a stock call for embeddings of your own",
    "negative_pooled_prompt_embeds": "use negative_prompt",
    "prompt_attention_mask": "use `with aid(...)` around a stock call for embeddings of your own",
    "negative_prompt_attention_mask": "use negative_prompt",
    "generator": "use seed",
    "num_images_per_prompt": "call again with another seed for another sequence",
    "num_videos_per_prompt": "call again with another seed for another sequence",
    "return_dict": "the result is a Sequence",
}


ONE_PER_PROMPT = ("num_images_per_prompt", "num_videos_per_prompt")
CLIP_LENGTHS = ("num_frames", "video_length", "frames")


def check_stock_arguments(pipe: Any, stock: dict[str, Any], own_names: list[str]) -> None:
    """Refuse what the stock call does not take.

    Args:
        pipe: the pipeline.
        stock: arguments that `interpolate` does not name itself.
        own_names: those that it does, to suggest from.

    Raises:
        ArgumentError: naming the argument and the nearest valid one, or what to use instead; NaN or a text for a
            number.
    """
    taken = stock_parameters(pipe)
    parameters = inspect.signature(pipe.__call__).parameters
    for name, value in stock.items():
        if name in SET_HERE:
            if name in ONE_PER_PROMPT and value == 1:
                continue
            raise ArgumentError(f"interpolate sets {name} itself; {SET_HERE[name]}")
        if name not in taken:
            near = difflib.get_close_matches(name, [*(taken - SET_HERE.keys()), *own_names], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ArgumentError(f"{type(pipe).__name__} takes no argument {name}{hint}")
        default = parameters[name].default if name in parameters else None
        number = isinstance(default, int | float) and not isinstance(default, bool)
        if number and (isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value))):
            raise ArgumentError(f"{name} must be a finite number, got {value!r}")


def with_clip_length(pipe: Any, call: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the stock call with `num_frames`, the images of a clip, under the name that the pipeline has for it.

    Sana's is `frames`, which `interpolate` has for the number of clips.
    """
    taken = stock_parameters(pipe)
    own = next((name for name in CLIP_LENGTHS if name in taken), None)
    if "num_frames" not in call or own is None:
        return call
    return {own if name == "num_frames" else name: value for name, value in call.items()}


def check_image_prompts(pipe: Any, stock: dict[str, Any], rows: int) -> None:
    """An IP-Adapter's images are the same for all frames; the stock call repeats what it is given for every row.

    Args:
        pipe: the pipeline.
        stock: arguments of the stock call.
        rows: of each of `ip_adapter_image_embeds`: 2, a negative and a positive one, where both share a tensor, else 1.

    Raises:
        ArgumentError: embeddings of several rows, which the stock call would mix up unnoticed, or no image at all for a
            UNet with an IP-Adapter.
    """
    given = stock.get("ip_adapter_image_embeds")
    for index, embeds in enumerate([given] if isinstance(given, Tensor) else given or []):
        if isinstance(embeds, Tensor) and embeds.shape[0] != rows:
            raise ArgumentError(
                f"ip_adapter_image_embeds[{index}] must have {rows} row(s), the same image for all frames, got "
                f"{embeds.shape[0]}; for an image per frame use `with aid(...)` and Frames(image_embeds=...)"
            )
    if requires_image(find_denoiser(pipe)) and given is None and stock.get("ip_adapter_image") is None:
        raise ArgumentError(
            "the pipeline has an IP-Adapter; pass ip_adapter_image or ip_adapter_image_embeds, or unload it first"
        )


def stock_parameters(pipe: Any) -> set[str]:
    """Names of the stock call's arguments."""
    parameters = inspect.signature(pipe.__call__).parameters.values()
    return {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def check_numbers(num_inference_steps: Any, guidance_scale: Any, output_type: Any, chunk: Any) -> None:
    """Raise ArgumentError for a value of the wrong kind or out of range."""
    if not _is_count(num_inference_steps):
        raise ArgumentError(f"num_inference_steps must be a whole number >= 1, got {num_inference_steps!r}")
    number = isinstance(guidance_scale, int | float) and not isinstance(guidance_scale, bool)
    if not number or not math.isfinite(guidance_scale):
        raise ArgumentError(f"guidance_scale must be a finite number, got {guidance_scale!r}")
    if output_type not in OUTPUT_TYPES:
        raise ArgumentError(f"output_type must be one of {', '.join(OUTPUT_TYPES)}, got {output_type!r}")
    if chunk != "auto" and not _is_count(chunk):
        raise ArgumentError(f'chunk must be "auto" or a whole number >= 1, got {chunk!r}')


def check_size(pipe: Any, height: Any, width: Any, binned: bool) -> None:
    """Sizes in pixels must divide into whole latents and whole patches of them.

    Args:
        binned: the stock call denoises at the nearest size the model knows (PixArt), so patches always fit.

    Raises:
        ArgumentError: not a positive whole number, not divisible, or a pipeline that takes its size from an image.
    """
    taken = stock_parameters(pipe)
    for name, value in (("height", height), ("width", width)):
        if value is None:
            continue
        if name not in taken:
            raise ArgumentError(f"{type(pipe).__name__} takes no {name}; it takes the size of its image")
        divisor = 8 if binned else size_divisor(pipe)
        if not _is_count(value) or value % divisor:
            known = isinstance(value, int | float) and math.isfinite(value)
            near = max(divisor, round(value / divisor) * divisor) if known else divisor
            raise ArgumentError(f"{name} must be a multiple of {divisor} pixels, got {value!r}; try {near}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1

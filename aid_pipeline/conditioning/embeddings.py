"""Every frame's text conditions, made by the pipeline's own `encode_prompt`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..attention.apply import find_denoiser
from ..errors import ArgumentError, PromptError, UnsupportedPipelineError
from .prompts import Prompts, check_length

POOLED = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
MASKED = ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask")

# What one more prompt per text encoder is called; each reads `prompt` where it is not given.
PROMPT_OF_TOKENIZER = {"tokenizer": "prompt", "tokenizer_2": "prompt_2", "tokenizer_3": "prompt_3"}
ENCODER_TEXTS = ("prompt_2", "prompt_3", "negative_prompt_2", "negative_prompt_3")


@dataclass(frozen=True)
class TextFamily:
    """How one kind of pipeline encodes text.

    Args:
        name: as in the README's table of families.
        returns: what `encode_prompt` returns, in order, by the stock call's argument names ("" is not an argument).
        guidance_argument: the stock argument that turns classifier-free guidance on when it is above 1.
        encodes_negative: `encode_prompt` returns negative embeddings too; otherwise it is called again for them.
    """

    name: str
    returns: tuple[str, ...]
    guidance_argument: str = "guidance_scale"
    encodes_negative: bool = True


FAMILIES = {
    "UNet2DConditionModel": TextFamily("Stable Diffusion 1.x, 2.x", ("prompt_embeds", "negative_prompt_embeds")),
    "UNet2DConditionModel+pooled": TextFamily("SDXL", POOLED),
    "SD3Transformer2DModel": TextFamily("Stable Diffusion 3.x", POOLED),
    "FluxTransformer2DModel": TextFamily(
        "FLUX.1", ("prompt_embeds", "pooled_prompt_embeds", ""), "true_cfg_scale", encodes_negative=False
    ),
    "PixArtTransformer2DModel": TextFamily("PixArt", MASKED),
}


def text_family(pipe: Any) -> TextFamily:
    """The family of a pipeline, by its denoiser's class.

    Raises:
        UnsupportedPipelineError: a pipeline whose text conditions are not known here.
    """
    kind = type(find_denoiser(pipe)).__name__
    if kind == "UNet2DConditionModel" and "pooled_prompt_embeds" in inspect.signature(pipe.__call__).parameters:
        kind += "+pooled"
    if kind not in FAMILIES or not hasattr(pipe, "encode_prompt"):
        raise UnsupportedPipelineError(
            f"interpolate does not know how {type(pipe).__name__} ({kind}) encodes text; known: "
            f"{', '.join(family.name for family in FAMILIES.values())}. Encode it yourself and use `with aid(...)`"
        )
    return FAMILIES[kind]


def check_guidance(pipe: Any, family: TextFamily, guidance: dict[str, Any], negative: bool) -> bool:
    """Whether this call runs with negative embeddings, as the stock call decides it.

    Args:
        guidance: `guidance_scale` and the other arguments of the stock call.
        negative: a negative prompt was given.

    Raises:
        ArgumentError: a negative prompt that nothing would read, or true CFG without one.
    """
    scale = guidance.get(family.guidance_argument, 1.0)
    takes_negative = "negative_prompt_embeds" in inspect.signature(pipe.__call__).parameters
    embedded_scale = getattr(find_denoiser(pipe).config, "time_cond_proj_dim", None) is not None
    guided = takes_negative and not embedded_scale and scale > 1
    if negative and not guided:
        why = (
            "this model takes none" if not takes_negative or embedded_scale else f"{family.guidance_argument}={scale:g}"
        )
        raise ArgumentError(
            f"negative_prompt would not be read ({why}); leave it out or raise {family.guidance_argument} over 1"
        )
    if guided and not family.encodes_negative and not negative:
        raise ArgumentError(f'{family.guidance_argument}={scale:g} needs a negative_prompt ("" will do)')
    return guided


@dataclass(frozen=True)
class Encoded:
    """What the text encoders made of a sequence's prompts, each (1, ...) by the stock call's argument names.

    Args:
        first, last: of the two ends, with their negative prompts' under names that start with "negative_".
        guides: of the interior frames, none without a guide.
    """

    first: dict[str, Tensor]
    last: dict[str, Tensor]
    guides: tuple[dict[str, Tensor], ...]

    def frames(self, coefficients: Sequence[float]) -> dict[str, Tensor]:
        """Rows for the stock call, by its argument names; row i is frame i.

        Embeddings, pooled and negative ones are lerped (arXiv 2403.17924, section 3); with guides, interior frames have
        the guide's (PAID, section 6) and only the negative ones are lerped. A token that either
        end's mask shows is shown.

        Raises:
            PromptError: a frame's embedding equals its negative prompt's.
        """
        frames = {name: self.rows(name, coefficients) for name in self.first}
        _check_guidance_does_something(frames)
        return frames

    def rows(self, name: str, coefficients: Sequence[float]) -> Tensor:
        """The rows of one argument; see `frames`."""
        first, last = self.first[name], self.last[name]
        rows = [_between(first, last, t) for t in coefficients]
        if not name.startswith("negative_"):
            for frame, guide in zip(range(1, len(rows) - 1), self.guides, strict=False):
                rows[frame] = guide[name]
        return _stacked(rows)


@torch.no_grad()
def encode_prompts(pipe: Any, family: TextFamily, prompts: Prompts, guided: bool, stock: dict[str, Any]) -> Encoded:
    """Encode every prompt of a sequence, each alone, as the stock call would for one image.

    Args:
        guided: encode negative prompts too.
        stock: arguments of the stock call that its `encode_prompt` takes as well (`clip_skip`, `max_sequence_length`,
            `prompt_2`, ...).

    Raises:
        PromptError: a prompt longer than every encoder reads.
        ArgumentError: options that the pipeline's `encode_prompt` refuses.
    """
    options = _encoder_options(pipe, stock)
    negative_a, negative_b = prompts.negatives or (None, None)
    guides = {
        text: _encode(pipe, family, text, negative_a, guided, options) for text in dict.fromkeys(prompts.guides or ())
    }
    return Encoded(
        _encode(pipe, family, prompts.first, negative_a, guided, options),
        _encode(pipe, family, prompts.last, negative_b, guided, options),
        tuple(guides[text] for text in prompts.guides or ()),
    )


def _check_guidance_does_something(frames: dict[str, Tensor]) -> None:
    negatives = frames.get("negative_prompt_embeds")
    if negatives is None:
        return
    for index, (positive, negative) in enumerate(zip(frames["prompt_embeds"], negatives, strict=True)):
        if torch.equal(positive, negative):
            raise PromptError(
                f"the prompt of frame {index} and the negative prompt have the same embedding, so guidance does "
                "nothing and their rows cannot be told apart; change one of them"
            )


def _between(first: Tensor, last: Tensor, t: float) -> Tensor:
    """Lerp in float32, exact at both ends and for equal tensors; the union of two masks."""
    if t in (0, 1):
        return last if t else first
    if first.dtype in (torch.float16, torch.bfloat16, torch.float32):
        return torch.lerp(first.float(), last.float(), t).to(first.dtype)
    if first.dtype == torch.float64:
        return torch.lerp(first, last, t)
    return torch.maximum(first, last)


def _stacked(rows: list[Tensor]) -> Tensor:
    """One batch; of equal rows, such as one negative prompt's, a view that costs no memory per frame."""
    first = rows[0]
    if all(row is first or torch.equal(row, first) for row in rows):
        return first.expand(len(rows), *first.shape[1:])
    return torch.cat(rows)


def _encoder_options(pipe: Any, stock: dict[str, Any]) -> dict[str, Any]:
    """Arguments that `encode_prompt` shares with the stock call, with the stock call's defaults."""
    ours = {"self", "prompt", "negative_prompt", "num_images_per_prompt", "device", "kwargs"}
    defaults = inspect.signature(pipe.__call__).parameters
    options = {}
    for name in inspect.signature(pipe.encode_prompt).parameters:
        if name in defaults and name not in ours and "embeds" not in name and "mask" not in name:
            options[name] = stock.get(name, defaults[name].default)
    for name in ENCODER_TEXTS:
        if options.get(name) is not None and not isinstance(options[name], str):
            raise ArgumentError(f"{name} must be one text, the same for all frames; got {options[name]!r}")
    attention_kwargs = stock.get("cross_attention_kwargs") or stock.get("joint_attention_kwargs") or {}
    if "lora_scale" in inspect.signature(pipe.encode_prompt).parameters:
        options["lora_scale"] = attention_kwargs.get("scale")
    return options


def _encode(
    pipe: Any, family: TextFamily, prompt: str, negative: str | None, guided: bool, options: dict[str, Any]
) -> dict[str, Tensor]:
    """One prompt, and with guidance one negative prompt, as the stock call would encode them for one image."""
    for text, prefix in [(prompt, ""), (negative, "negative_")]:
        if text is not None:
            names = {key: prefix + value for key, value in PROMPT_OF_TOKENIZER.items() if getattr(pipe, key, None)}
            texts = {key: options.get(name) or text for key, name in names.items()}
            check_length(pipe, texts, options.get("max_sequence_length"))
    if not family.encodes_negative:
        encoded = _call_encoder(pipe, family, prompt, options)
        if guided:
            negative_options = options | {"prompt_2": options.get("negative_prompt_2")}
            of_negative = _call_encoder(pipe, family, negative or "", negative_options)
            encoded |= {f"negative_{name}": value for name, value in of_negative.items()}
        return encoded
    default = inspect.signature(pipe.encode_prompt).parameters["negative_prompt"].default
    wanted = {"do_classifier_free_guidance": guided, "negative_prompt": default if negative is None else negative}
    encoded = _call_encoder(pipe, family, prompt, options | wanted)
    return {name: value for name, value in encoded.items() if guided or not name.startswith("negative_")}


def _call_encoder(pipe: Any, family: TextFamily, prompt: str, options: dict[str, Any]) -> dict[str, Tensor]:
    parameters = inspect.signature(pipe.encode_prompt).parameters
    arguments = {name: value for name, value in options.items() if name in parameters}
    for name in ("prompt_2", "prompt_3"):
        if name in parameters:
            arguments.setdefault(name, None)
    try:
        values = pipe.encode_prompt(prompt, **arguments, device=pipe._execution_device, num_images_per_prompt=1)
    except (ValueError, TypeError, IndexError) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items() if value is not None)
        raise ArgumentError(f"{type(pipe).__name__} cannot encode the prompt ({error}); given were {given}") from error
    if len(values) != len(family.returns):
        raise UnsupportedPipelineError(
            f"encode_prompt of {type(pipe).__name__} returns {len(values)} values, "
            f"not the {len(family.returns)} of {family.name}"
        )
    named = zip(family.returns, values, strict=True)
    return {name: value for name, value in named if name and value is not None}

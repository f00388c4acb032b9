"""Prompts through the pipeline's own `encode_prompt`, each alone, as its stock call would encode them.

Calls the encoder in place of the stock call and so repeats some of its decisions; what differs between families is in
`families.py`.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError, UnsupportedPipelineError
from ..families import Family, embeds_guidance_scale, find_denoiser
from .embeddings import Encoded
from .prompts import Prompts, check_length

# What one more prompt per text encoder is called; each reads `prompt` where it is not given.
PROMPT_OF_TOKENIZER = {"tokenizer": "prompt", "tokenizer_2": "prompt_2", "tokenizer_3": "prompt_3"}
REFUSALS = (ValueError, TypeError, IndexError, KeyError, AttributeError, NotImplementedError)
"""What stock code raises for an option that it cannot serve."""

ENCODER_TEXTS = ("prompt_2", "prompt_3", "negative_prompt_2", "negative_prompt_3")


def check_guidance(pipe: Any, family: Family, guidance: dict[str, Any], negative: bool) -> bool:
    """Whether this call is under classifier-free guidance, as the stock call decides it.

    Args:
        guidance: `guidance_scale` and the other arguments of the stock call.
        negative: a negative prompt was given.

    Raises:
        ArgumentError: a negative prompt that nothing would read, or true CFG without one.
    """
    scale = guidance.get(family.guidance_argument, 1.0)
    takes_negative = "negative_prompt_embeds" in inspect.signature(pipe.__call__).parameters
    takes_negative = takes_negative and not embeds_guidance_scale(find_denoiser(pipe))
    do_classifier_free_guidance = takes_negative and scale > 1
    if negative and not do_classifier_free_guidance:
        why = f"{family.guidance_argument}={scale:g}" if takes_negative else "this model takes none"
        raise ArgumentError(
            f"negative_prompt would not be read ({why}); leave it out or raise {family.guidance_argument} over 1"
        )
    if do_classifier_free_guidance and not family.encodes_negative and not negative:
        raise ArgumentError(f'{family.guidance_argument}={scale:g} needs a negative_prompt ("" will do)')
    return do_classifier_free_guidance


@torch.no_grad()
def encode_prompts(
    pipe: Any, family: Family, prompts: Prompts, do_classifier_free_guidance: bool, stock: dict[str, Any]
) -> Encoded:
    """Encode every prompt of a sequence, each alone, as the stock call would for one image.

    Args:
        do_classifier_free_guidance: encode negative prompts too.
        stock: arguments of the stock call that its `encode_prompt` takes as well (`clip_skip`, `max_sequence_length`,
            `prompt_2`, ...).

    Raises:
        PromptError: a prompt longer than every encoder reads.
        ArgumentError: options that the pipeline's `encode_prompt` refuses.
    """
    options = _encoder_options(pipe, stock)
    negative_a, negative_b = prompts.negatives or (None, None)
    guides = {
        text: _encode(pipe, family, text, negative_a, do_classifier_free_guidance, options)
        for text in dict.fromkeys(prompts.guides or ())
    }
    return Encoded(
        _encode(pipe, family, prompts.first, negative_a, do_classifier_free_guidance, options),
        _encode(pipe, family, prompts.last, negative_b, do_classifier_free_guidance, options),
        tuple(guides[text] for text in prompts.guides or ()),
    )


def _encoder_options(pipe: Any, stock: dict[str, Any]) -> dict[str, Any]:
    """Arguments that `encode_prompt` shares with the stock call, with the stock call's defaults."""
    own = {"self", "prompt", "negative_prompt", "num_images_per_prompt", "device", "kwargs"}
    defaults = inspect.signature(pipe.__call__).parameters
    options = {}
    for name in inspect.signature(pipe.encode_prompt).parameters:
        if name in defaults and name not in own and "embeds" not in name and "mask" not in name:
            options[name] = stock.get(name, defaults[name].default)
    for name in ENCODER_TEXTS:
        if options.get(name) is not None and not isinstance(options[name], str):
            raise ArgumentError(f"{name} must be one text, the same for all frames; got {options[name]!r}")
    attention_kwargs = stock.get("cross_attention_kwargs") or stock.get("joint_attention_kwargs") or {}
    if "lora_scale" in inspect.signature(pipe.encode_prompt).parameters:
        options["lora_scale"] = attention_kwargs.get("scale")
    return options


def _encode(
    pipe: Any,
    family: Family,
    prompt: str,
    negative: str | None,
    do_classifier_free_guidance: bool,
    options: dict[str, Any],
) -> dict[str, Tensor]:
    """One prompt, and with guidance one negative prompt, as the stock call would encode them for one image."""
    for text, prefix in [(prompt, ""), (negative, "negative_")]:
        if text is not None:
            names = {key: prefix + PROMPT_OF_TOKENIZER[key] for key in read_tokenizers(pipe)}
            texts = {key: options.get(name) or text for key, name in names.items()}
            check_length(pipe, texts, options.get("max_sequence_length"))
    if not family.encodes_negative:
        encoded = _call_encoder(pipe, family, prompt, options)
        if do_classifier_free_guidance:
            negative_options = options | {"prompt_2": options.get("negative_prompt_2")}
            of_negative = _call_encoder(pipe, family, negative or "", negative_options)
            encoded |= {f"negative_{name}": value for name, value in of_negative.items()}
        return encoded
    default = inspect.signature(pipe.encode_prompt).parameters["negative_prompt"].default
    wanted = {
        "do_classifier_free_guidance": do_classifier_free_guidance,
        "negative_prompt": default if negative is None else negative,
    }
    encoded = _call_encoder(pipe, family, prompt, options | wanted)
    return {
        name: value
        for name, value in encoded.items()
        if do_classifier_free_guidance or not name.startswith("negative_")
    }


def read_tokenizers(pipe: Any) -> list[str]:
    """Names of the tokenizers that a text encoder reads: either may be left out. A chat's processor is none."""
    return [
        name
        for name in PROMPT_OF_TOKENIZER
        if hasattr(getattr(pipe, name, None), "model_max_length")
        and getattr(pipe, name.replace("tokenizer", "text_encoder"), name) is not None
    ]


def _call_encoder(pipe: Any, family: Family, prompt: str, options: dict[str, Any]) -> dict[str, Tensor]:
    parameters = inspect.signature(pipe.encode_prompt).parameters
    arguments = {name: value for name, value in options.items() if name in parameters}
    for name in ("prompt_2", "prompt_3"):
        if name in parameters:
            arguments.setdefault(name, None)
    try:
        values = pipe.encode_prompt(prompt, **arguments, device=pipe._execution_device, num_images_per_prompt=1)
    except REFUSALS as error:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items() if value is not None)
        raise ArgumentError(f"{type(pipe).__name__} cannot encode the prompt ({error}); given were {given}") from error
    if len(values) != len(family.encoder_outputs):
        raise UnsupportedPipelineError(
            f"encode_prompt of {type(pipe).__name__} returns {len(values)} values, "
            f"not the {len(family.encoder_outputs)} of {family.name}"
        )
    named = zip(family.encoder_outputs, values, strict=True)
    return {name: value for name, value in named if name and value is not None}

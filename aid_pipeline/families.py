"""Stock pipelines: what is asked of them by the names of their parts, methods and arguments.

The only module that names a concrete class of diffusers.
"""

from __future__ import annotations

import copy
import inspect
import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from .errors import UnsupportedPipelineError

POSITION_ARGUMENTS = frozenset({"txt_ids", "img_ids", "image_rotary_emb"})
"""Arguments of denoisers with positions, not rows, in their first dimension, whatever its length."""

ROW_AXIS = {"encoder_hidden_states_llama3": 1}
"""Arguments of denoisers whose rows are in another dimension than the first (layers of a text encoder come first)."""


@dataclass(frozen=True)
class ImageSlot:
    """Where a denoiser takes IP-Adapter embeddings.

    Args:
        argument: of its forward; holds a dictionary.
        entry: key in that dictionary.
        takes_list: one tensor per adapter; else a single tensor, of the only adapter there can be.
    """

    argument: str
    entry: str
    takes_list: bool = True


IMAGE_SLOTS = {
    "UNet2DConditionLoadersMixin": ImageSlot("added_cond_kwargs", "image_embeds"),
    "FluxTransformer2DLoadersMixin": ImageSlot("joint_attention_kwargs", "ip_adapter_image_embeds"),
    "SD3Transformer2DLoadersMixin": ImageSlot("joint_attention_kwargs", "ip_adapter_image_embeds", takes_list=False),
}
"""By the class of diffusers that loads a denoiser's IP-Adapter."""

DENOISERS = ("unet", "transformer", "decoder", "prior")
"""Where pipelines have the module that denoises."""

PRIOR_ENCODER = "_encode_prior_prompt"
ENCODERS = ("encode_prompt", "_encode_prompt", PRIOR_ENCODER)
"""Methods of pipelines that encode prompts, the last one for another model than the denoiser."""


def find_denoiser(pipe_or_denoiser: Any) -> nn.Module:
    """The module that denoises: `unet`, `transformer`, ... of a pipeline, or the module itself; no compiled wrapper.

    Raises:
        UnsupportedPipelineError: neither, two of them, or a pipeline of the PAG kind.
    """
    kind = type(pipe_or_denoiser).__name__
    if hasattr(pipe_or_denoiser, "pag_applied_layers") or "PAG" in kind:
        raise UnsupportedPipelineError(
            f"{kind} installs attention processors inside its call (PAG); use the pipeline without PAG"
        )
    denoiser = pipe_or_denoiser
    if not isinstance(denoiser, nn.Module):
        parts = (getattr(pipe_or_denoiser, name, None) for name in DENOISERS)
        denoiser = next((part for part in parts if part is not None), None)
    if getattr(pipe_or_denoiser, "transformer_2", None) is not None and denoiser is not pipe_or_denoiser:
        raise UnsupportedPipelineError(f"{kind} has two denoisers that share the steps, which is not supported")
    if not isinstance(denoiser, nn.Module):
        raise UnsupportedPipelineError(f"{kind} has neither a unet nor a transformer to interpolate")
    return getattr(denoiser, "_orig_mod", denoiser)


def encoders_of(pipe: Any) -> list[str]:
    """Names of the methods that encode prompts."""
    return [name for name in ENCODERS if callable(getattr(pipe, name, None))]


def check_encoder(pipe: Any) -> None:
    """Raise UnsupportedPipelineError for a pipeline without a method that encodes prompts."""
    if not (encoders_of(pipe) or is_combined(pipe)):
        raise UnsupportedPipelineError(
            f"{type(pipe).__name__} has no encode_prompt to interpolate between texts with; encode them yourself and "
            "use `with aid(...)`"
        )


def _encoder_parameters(pipe: Any) -> Any:
    return inspect.signature(getattr(pipe, encoders_of(pipe)[0])).parameters


def rows_per_frame(pipe: Any, guidance_scale: float) -> int:
    """Rows of one frame in a denoiser call: a negative one too where both share the call, and if it does not say, too.

    Where `encode_prompt` takes no negative prompt, both are called apart.
    """
    if not is_combined(pipe) and "negative_prompt" not in _encoder_parameters(pipe):
        return 1
    own = copy.copy(pipe)
    vars(own)["_guidance_scale"] = guidance_scale
    return 2 if getattr(own, "do_classifier_free_guidance", True) else 1


# ---------------------------------------------------------------- the denoiser


def has_separate_cross_attention(denoiser: nn.Module) -> bool:
    """Whether layers of their own read the text itself, apart from self-attention: those of UNets."""
    return any(cls.__name__ == "UNet2DConditionModel" for cls in type(denoiser).__mro__)


def requires_image(denoiser: Any) -> bool:
    """Whether an IP-Adapter is loaded without whose image the denoiser cannot be called."""
    return getattr(denoiser.config, "encoder_hid_dim_type", None) == "ip_image_proj"


def image_slot(denoiser: nn.Module) -> ImageSlot:
    """Where a denoiser takes IP-Adapter embeddings.

    Raises:
        UnsupportedPipelineError: nowhere.
    """
    for cls in type(denoiser).__mro__:
        if cls.__name__ in IMAGE_SLOTS:
            return IMAGE_SLOTS[cls.__name__]
    raise UnsupportedPipelineError(f"{type(denoiser).__name__} takes no image embeddings; leave image_embeds out")


# ---------------------------------------------------------------- combined pipelines


def is_combined(pipe: Any) -> bool:
    """Whether it is made of two pipelines: a prior, and a decoder of the prior's image embeddings."""
    return all(hasattr(pipe, part) for part in ("prior_pipe", "decoder_pipe"))


def makes_vectors(prior_pipe: Any) -> bool:
    """Whether a prior denoises one vector, not the latents of an image."""
    return type(getattr(prior_pipe, "prior", None)).__name__ == "PriorTransformer"


# ---------------------------------------------------------------- clips


def generates_clips(pipe: Any) -> bool:
    """Whether the stock call returns a clip for every prompt, not an image."""
    arguments = inspect.signature(pipe.__call__).parameters
    one_image = "num_images_per_prompt" in arguments and "num_frames" not in arguments  # of a video model
    return getattr(pipe, "video_processor", None) is not None and not one_image


def check_images(pipe: Any, what: str) -> None:
    """Raise UnsupportedPipelineError for a pipeline whose frames are clips, where `what` compares images."""
    if generates_clips(pipe):
        raise UnsupportedPipelineError(f"{what} compares images, but every frame of {type(pipe).__name__} is a clip")


# ---------------------------------------------------------------- latents


def packs_latents(pipe: Any) -> bool:
    """Whether a pipeline itself makes tokens of 2x2 latents."""
    return hasattr(pipe, "_pack_latents") and hasattr(pipe, "_unpack_latents")


def size_divisor(pipe: Any) -> int:
    """What the sides of an image must divide by: 8 (all stock calls ask that) and the size of a patch of latents."""
    latent = int(getattr(pipe, "vae_scale_factor", 8))
    patch = 2 if packs_latents(pipe) else 1
    if getattr(pipe, "transformer", None) is not None:
        size = getattr(find_denoiser(pipe).config, "patch_size", 1)
        # of a video model: time, height and width; that of a pipeline that packs may be the packing's
        patch = max(patch, int(size if isinstance(size, int) else max(size)))
    return math.lcm(8, latent * patch)

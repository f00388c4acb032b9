"""Families of stock pipelines: what Stable Diffusion, SDXL, SD3, FLUX and PixArt do in different ways, an entry each.

The only module that names a denoiser's class. A new family is a new entry of `FAMILIES`; every question asked of a
family elsewhere is a field of that entry or a function below.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .errors import UnsupportedPipelineError

POSITION_ARGUMENTS = frozenset({"txt_ids", "img_ids", "image_rotary_emb"})
"""Arguments of denoisers with positions, not rows, in their first dimension, whatever its length."""

ROW_AXIS = {"encoder_hidden_states_llama3": 1}
"""Arguments of denoisers whose rows are in another dimension than the first (layers of a text encoder come first)."""

_POOLED = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
_MASKED = ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask")


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


_UNET_SLOT = ImageSlot("added_cond_kwargs", "image_embeds")
_TRANSFORMER_SLOT = ImageSlot("joint_attention_kwargs", "ip_adapter_image_embeds")


@dataclass(frozen=True)
class Family:
    """One kind of pipeline.

    Args:
        name: as in the README's table of families.
        denoiser: name of the denoiser's class.
        call_argument: an argument of the stock call that tells the family from an earlier entry with that denoiser.
        encoder_outputs: what `encode_prompt` returns, in order, by the stock call's argument names ("" is not an
            argument).
        encodes_negative: `encode_prompt` returns negative embeddings too, and the denoiser gets both in one call;
            otherwise both are called again for them.
        guidance_argument: the stock argument that turns classifier-free guidance on when it is above 1.
        conditions: arguments of the denoiser, and of dictionaries among them, that hold an output of the encoder.
        image_slot: where it takes IP-Adapter embeddings; None means nowhere.
        separate_cross_attention: text is read by attention layers of its own, apart from self-attention.
        packed_patch: side of the patches of latents that the pipeline itself packs into tokens; 1 means that it packs
            none.
    """

    name: str
    denoiser: str
    encoder_outputs: tuple[str, ...]
    conditions: dict[str, str]
    call_argument: str | None = None
    encodes_negative: bool = True
    guidance_argument: str = "guidance_scale"
    image_slot: ImageSlot | None = None
    separate_cross_attention: bool = False
    packed_patch: int = 1

    @property
    def is_known(self) -> bool:
        """Whether it has an entry here; texts of others are encoded by replay."""
        return bool(self.encoder_outputs)


FAMILIES = (
    Family(
        "Stable Diffusion 1.x, 2.x",
        "UNet2DConditionModel",
        ("prompt_embeds", "negative_prompt_embeds"),
        {"encoder_hidden_states": "prompt_embeds"},
        image_slot=_UNET_SLOT,
        separate_cross_attention=True,
    ),
    Family(
        "SDXL",
        "UNet2DConditionModel",
        _POOLED,
        {"encoder_hidden_states": "prompt_embeds", "text_embeds": "pooled_prompt_embeds"},
        call_argument="pooled_prompt_embeds",
        image_slot=_UNET_SLOT,
        separate_cross_attention=True,
    ),
    Family(
        "Stable Diffusion 3.x",
        "SD3Transformer2DModel",
        _POOLED,
        {"encoder_hidden_states": "prompt_embeds", "pooled_projections": "pooled_prompt_embeds"},
        image_slot=ImageSlot("joint_attention_kwargs", "ip_adapter_image_embeds", takes_list=False),
    ),
    Family(
        "FLUX.1",
        "FluxTransformer2DModel",
        ("prompt_embeds", "pooled_prompt_embeds", ""),
        {"encoder_hidden_states": "prompt_embeds", "pooled_projections": "pooled_prompt_embeds"},
        encodes_negative=False,
        guidance_argument="true_cfg_scale",
        image_slot=_TRANSFORMER_SLOT,
        packed_patch=2,
    ),
    Family(
        "PixArt",
        "PixArtTransformer2DModel",
        _MASKED,
        {"encoder_hidden_states": "prompt_embeds", "encoder_attention_mask": "prompt_attention_mask"},
    ),
)


# ---------------------------------------------------------------- which family


def find_denoiser(pipe_or_denoiser: Any) -> nn.Module:
    """The module that denoises: `unet` or `transformer` of a pipeline, or the module itself; never a compiled wrapper.

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
        unet = getattr(pipe_or_denoiser, "unet", None)
        denoiser = unet if unet is not None else getattr(pipe_or_denoiser, "transformer", None)
    if getattr(pipe_or_denoiser, "transformer_2", None) is not None and denoiser is not pipe_or_denoiser:
        raise UnsupportedPipelineError(f"{kind} has two denoisers that share the steps, which is not supported")
    if not isinstance(denoiser, nn.Module):
        raise UnsupportedPipelineError(f"{kind} has neither a unet nor a transformer to interpolate")
    return getattr(denoiser, "_orig_mod", denoiser)


def find_family(pipe: Any) -> Family:
    """The family of a pipeline: its entry, or one that says nothing but the denoiser's class.

    Raises:
        UnsupportedPipelineError: a pipeline without `encode_prompt`.
    """
    denoiser = find_denoiser(pipe)
    arguments = inspect.signature(pipe.__call__).parameters
    fitting = [family for family in _with_denoiser(denoiser) if family.call_argument in (None, *arguments)]
    if not hasattr(pipe, "encode_prompt"):
        raise UnsupportedPipelineError(
            f"{type(pipe).__name__} has no encode_prompt to interpolate between texts with; encode them yourself and "
            "use `with aid(...)`"
        )
    return fitting[-1] if fitting else Family(type(pipe).__name__, type(denoiser).__name__, (), {})


def _with_denoiser(denoiser: nn.Module) -> list[Family]:
    classes = {cls.__name__ for cls in type(denoiser).__mro__}
    return [family for family in FAMILIES if family.denoiser in classes]


# ---------------------------------------------------------------- the denoiser


def has_separate_cross_attention(denoiser: nn.Module) -> bool:
    """Whether layers of their own read the text, apart from self-attention."""
    return any(family.separate_cross_attention for family in _with_denoiser(denoiser))


def embeds_guidance_scale(denoiser: Any) -> bool:
    """Whether the denoiser reads the guidance scale (LCM), so that a call has no unconditional rows."""
    return getattr(denoiser.config, "time_cond_proj_dim", None) is not None


def requires_image(denoiser: Any) -> bool:
    """Whether an IP-Adapter is loaded without whose image the denoiser cannot be called."""
    return getattr(denoiser.config, "encoder_hid_dim_type", None) == "ip_image_proj"


def image_slot(denoiser: nn.Module) -> ImageSlot:
    """Where a denoiser, of a known family or another, takes IP-Adapter embeddings.

    Raises:
        UnsupportedPipelineError: nowhere.
    """
    known = _with_denoiser(denoiser)
    arguments = inspect.signature(type(denoiser).forward).parameters
    slots = [family.image_slot for family in known] if known else [_UNET_SLOT, _TRANSFORMER_SLOT]
    for slot in slots:
        if slot is not None and slot.argument in arguments:
            return slot
    raise UnsupportedPipelineError(f"{type(denoiser).__name__} takes no image embeddings; leave image_embeds out")


# ---------------------------------------------------------------- clips


def generates_clips(pipe: Any) -> bool:
    """Whether the stock call returns a clip for every prompt, not an image."""
    arguments = inspect.signature(pipe.__call__).parameters
    one_image = "num_images_per_prompt" in arguments and "num_frames" not in arguments  # of a video model
    return getattr(pipe, "video_processor", None) is not None and not one_image


# ---------------------------------------------------------------- latents


def size_divisor(pipe: Any) -> int:
    """What the sides of an image must divide by: 8 (all stock calls ask that) and the size of a patch of latents."""
    latent = int(getattr(pipe, "vae_scale_factor", 8))
    patch = find_family(pipe).packed_patch
    if getattr(pipe, "transformer", None) is not None:
        size = getattr(find_denoiser(pipe).config, "patch_size", 1)
        patch *= int(size if isinstance(size, int) else max(size))  # time, height and width of a video model's
    return math.lcm(8, latent * patch)


def unpacked_shape(pipe: Any, latents: Tensor, height: int, width: int) -> tuple[int, ...]:
    """(C, h, w) of one image's latents, of which `latents` are some as the denoiser gets them.

    Args:
        height, width: of the image, in pixels.
    """
    if find_family(pipe).packed_patch > 1:
        latents = pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor)
    return tuple(latents.shape[1:])


def pack_latents(pipe: Any, latents: Tensor) -> Tensor:
    """Latents (m, C, h, w) as the denoiser gets them."""
    if find_family(pipe).packed_patch > 1:
        packed: Tensor = pipe._pack_latents(latents, *latents.shape)
        return packed
    return latents

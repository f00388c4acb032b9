"""Attention layers of a denoiser, and which of them inner interpolation leaves as they are."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0, FusedAttnProcessor2_0
from torch import Tensor, nn

from aid_kernels import MAX_HEAD_DIM

from ..errors import UnsupportedPipelineError
from ..families import has_separate_cross_attention
from .frames import Frames
from .processors import InterpolatedAttnProcessor


def attention_layers(denoiser: nn.Module) -> dict[str, Any]:
    """Every module with a processor that can be exchanged, by its name in the denoiser, in order.

    Raises:
        UnsupportedPipelineError: there is none, a layer has larger heads than the operator serves, or an
            `InterpolatedAttnProcessor` that was set by hand.
    """
    layers: dict[str, Any] = {
        name: module
        for name, module in denoiser.named_modules()
        if hasattr(module, "set_processor") and hasattr(module, "processor")
    }
    if not layers:
        raise UnsupportedPipelineError(
            f"{type(denoiser).__name__} has no attention layers with processors; nothing in it can be interpolated"
        )
    for name, module in layers.items():
        if isinstance(module.processor, InterpolatedAttnProcessor):
            raise UnsupportedPipelineError(
                f"layer {name} has an InterpolatedAttnProcessor set by hand; put back the processor it had: "
                f"{_processor_before(module)}"
            )
        size = head_dim(module)
        if size is not None and size > MAX_HEAD_DIM:
            raise UnsupportedPipelineError(
                f"layer {name} has heads of {size} channels; the operator serves up to {MAX_HEAD_DIM}"
            )
    return layers


def _processor_before(module: Any) -> str:
    default = getattr(module, "_default_processor_cls", None)
    if default is None and getattr(module, "added_kv_proj_dim", None) is None:
        default = AttnProcessor2_0
    if default is None:
        return "keep denoiser.attn_processors before it is set, or load the pipeline again"
    return f"layer.set_processor({default.__name__}()), as every such layer of the denoiser"


def head_dim(module: Any) -> int | None:
    """Channels of one head, where the module says so."""
    inner, heads = getattr(module, "inner_dim", None), getattr(module, "heads", None)
    return inner // heads if isinstance(inner, int) and isinstance(heads, int) and heads else None


def is_linear_cross_attention(denoiser: nn.Module, module: Any) -> bool:
    """Whether a layer's keys and values are linear in the denoiser's `encoder_hidden_states`.

    Inner interpolation between lerped embeddings is then plain attention: the lerp of the endpoints' keys is the
    frame's own.

    True for the text cross-attention of plain UNets: no norm of keys or text, no projector in front that is not
    linear, no image branch. Everything else, such as a transformer with a caption MLP, is interpolated.
    """
    if not has_separate_cross_attention(denoiser) or not isinstance(module, Attention):
        return False
    projector = getattr(denoiser, "encoder_hid_proj", None)
    return (
        (projector is None or isinstance(projector, nn.Linear))
        and module.is_cross_attention
        and module.norm_cross is None
        and module.norm_k is None
        and module.added_kv_proj_dim is None
        and type(module.processor) in (AttnProcessor2_0, FusedAttnProcessor2_0)
    )


def is_lerp_of_endpoints(frames: Frames) -> bool:
    """Whether every interpolated frame's embedding is the plan's mix of its endpoints', up to rounding."""
    embeds, plan = frames.embeddings(), frames.plan
    if not isinstance(embeds, Tensor):
        return False
    sources, weights = plan.host_sources.long().to(embeds.device), plan.host_weights.to(embeds.device)
    for row in (plan.host_weights != 0).any(dim=1).nonzero()[:, 0].tolist():
        endpoints = embeds[sources[row]].double()
        mixed = torch.einsum("j,j...->...", weights[row].double(), endpoints)
        if not _close(embeds[row].double(), mixed, endpoints, embeds.dtype):
            return False
    return True


def _close(actual: Tensor, expected: Tensor, scale: Tensor, dtype: torch.dtype) -> bool:
    tolerance = 4 * torch.finfo(dtype).eps * scale.abs().max()
    return bool((actual - expected).abs().max() <= tolerance)

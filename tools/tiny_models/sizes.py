"""Sizes of tiny diffusers models: one number for each name of a signature, and the exceptions of single classes.

Channels of latents and patch sizes stay as the classes have them, so that a pipeline's own arithmetic holds.
"""

from __future__ import annotations

from typing import Any

from .text import WIDTH

HEADS, HEAD_SIZE = 2, WIDTH // 2
DEPTHS = [
    "num_layers",
    "num_single_layers",
    "num_mmdit_layers",
    "num_single_dit_layers",
    "num_refiner_layers",
    "num_text_blocks",
    "num_visual_blocks",
    "num_layerwise_text_blocks",
    "num_refiner_text_blocks",
    "depth",
    "dit_depth",
    "transformer_num_layers",
    "num_hidden_layers",
    "mmdit_layers",
    "layers_per_block",
]
WIDTHS = ["hidden_size", "model_dim", "caption_projection_dim", "dit_dim", "added_kv_proj_dim", "img_context_dim_out"]
TEXT_WIDTHS = [
    "joint_attention_dim",
    "cross_attention_dim",
    "caption_channels",
    "pooled_projection_dim",
    "text_dim",
    "text_embed_dim",
    "text_embed_2_dim",
    "context_in_dim",
    "text_in_dim",
    "in_text_dim",
    "in_text_dim2",
    "cap_feat_dim",
    "text_hidden_dim",
    "encoder_hid_dim",
    "cross_attention_dim_t5",
    "image_dim",
    "image_embed_dim",
    "dit_text_dim",
    "encoder_hidden_states_channels",
    "crossattn_proj_in_channels",
    "llm_features_dim",
    "text_emb_dim",
    "embedding_dim",
    "embedding_proj_dim",
    "clip_embed_dim",
]
TIME_WIDTHS = [
    "time_embed_dim",
    "freq_dim",
    "timestep_embed_dim",
    "time_dim",
    "timestep_guidance_channels",
    "adaln_dim",
    "adaln_lora_dim",
    "time_step_dim",
]
FEED_FORWARDS = [
    "ffn_dim",
    "intermediate_size",
    "ffn_hidden_size",
    "ff_dim",
    "text_intermediate_size",
    "moe_intermediate_dim",
]
HEAD_COUNTS = [
    "num_attention_heads",
    "num_heads",
    "num_kv_heads",
    "num_key_value_heads",
    "dit_heads",
    "n_heads",
    "num_cross_attention_heads",
    "text_num_attention_heads",
    "text_num_key_value_heads",
    "n_kv_heads",
]
HEAD_SIZES = ["attention_head_dim", "cross_attention_head_dim", "head_dim"]
ROTARY = ["axes_dims_rope", "axes_dim_rope", "rope_axes_dim", "axes_dims", "rope_dim", "rope_dim_list", "axes_dim"]
SIZES: dict[str, Any] = {
    **dict.fromkeys(DEPTHS, 1),
    **dict.fromkeys(WIDTHS, WIDTH),
    **dict.fromkeys(TEXT_WIDTHS, WIDTH),
    **dict.fromkeys(TIME_WIDTHS, WIDTH),
    **dict.fromkeys(FEED_FORWARDS, 2 * WIDTH),
    **dict.fromkeys(HEAD_COUNTS, HEADS),
    **dict.fromkeys(HEAD_SIZES, HEAD_SIZE),
    "multiple_of": 8,
    "dim": WIDTH,
    "cap_feat_dim": WIDTH,
    "bottleneck_size": None,
    "condition_dim": 8,
    "mlp_ratio": 2.0,
    "mlp_width_ratio": 2.0,
    "sample_size": 8,
    "norm_num_groups": 4,
    "groups": 4,
    "block_out_channels": (16, 32),
    "max_norm_num_groups": 4,
    "num_experts": 4,
    "num_routed_experts": 2,
    "num_activated_experts": 1,
    "num_embeddings": 77,
    "mrope_section": (2, 3, 3),
    "timestep_scale_multiplier": 1000,
}


def rotary(default: Any, head_size: int = HEAD_SIZE) -> Any:
    """Sizes of as many axes as the default has, even ones that add up to a head."""
    count = len(default)
    each = head_size // count // 2 * 2
    return type(default)([each] * (count - 1) + [head_size - each * (count - 1)])

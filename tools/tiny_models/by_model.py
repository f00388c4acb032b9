"""Exceptions of single classes from the sizes that names have."""

from __future__ import annotations

from typing import Any

from .sizes import HEAD_SIZE, HEADS
from .text import WIDTH

UNET = {
    "sample_size": 8,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": HEADS,  # the old name of the number of heads: head sizes are 8 and 16
    "norm_num_groups": 8,
}
CONTROL = {name: value for name, value in UNET.items() if name not in ("up_block_types", "sample_size")}
CONTROL |= {"conditioning_embedding_out_channels": (8, 8, 8, 16)}
KL = {
    "block_out_channels": (8, 8, 8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
WAN = {"base_dim": 4, "num_res_blocks": 1, "dim_mult": [1, 1, 1, 1]}
# what is not its name's size in these classes
BY_CLASS: dict[str, dict[str, Any]] = {
    "UNet2DConditionModel": UNET,
    "ControlNetModel": CONTROL,
    "ControlNetUnionModel": {
        **CONTROL,
        **{"num_trans_channel": 16, "num_trans_head": HEADS, "num_proj_channel": 16},
    },
    "ControlNetXSAdapter": {
        **{"block_out_channels": (8, 16), "base_block_out_channels": (16, 32), "num_attention_heads": (1, 2)},
        **{"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "cross_attention_dim": WIDTH},
        **{"conditioning_embedding_out_channels": (8, 8, 8, 16), "max_norm_num_groups": 4, "sample_size": 8},
        **{"use_linear_projection": False, "upcast_attention": False},
    },
    "AllegroTransformer3DModel": {"attention_head_dim": 24, "cross_attention_dim": 48},
    "LatteTransformer3DModel": {
        **{"in_channels": 4, "out_channels": 8, "patch_size": 2, "cross_attention_dim": WIDTH, "video_length": 5},
        **{"caption_channels": WIDTH, "norm_type": "ada_norm_single", "num_embeds_ada_norm": 1000, "sample_size": 8},
        **{"activation_fn": "gelu-approximate", "norm_elementwise_affine": False},
    },
    "LTX2VideoTransformer3DModel": {
        **{"audio_num_attention_heads": HEADS, "audio_attention_head_dim": HEAD_SIZE},
        **{"audio_cross_attention_dim": WIDTH},
    },
    "LTX2TextConnectors": {
        **{"text_proj_in_factor": 3, "video_hidden_dim": WIDTH, "audio_hidden_dim": WIDTH},
        **{"video_connector_num_attention_heads": HEADS, "video_connector_attention_head_dim": HEAD_SIZE},
        **{"audio_connector_num_attention_heads": HEADS, "audio_connector_attention_head_dim": HEAD_SIZE},
        **{"video_connector_num_layers": 1, "audio_connector_num_layers": 1},
        **{"video_connector_num_learnable_registers": 8, "audio_connector_num_learnable_registers": 8},
    },
    "LTX2Vocoder": {"hidden_channels": 32},
    "LTX2VocoderWithBWE": {"hidden_channels": 64, "bwe_hidden_channels": 32},
    "AutoencoderKLLTX2Audio": {"ch_mult": (1, 1, 1), "num_res_blocks": 1},
    "LTX2LatentUpsamplerModel": {"mid_channels": 32, "num_blocks_per_stage": 1},
    "AutoencoderKL": KL,
    "AutoencoderKLWan": WAN,
    "AutoencoderKLQwenImage": WAN,
    "AutoencoderKLQwenImage21": {"base_dim": 4, "decoder_base_dim": 4, "num_res_blocks": 1, "dim_mult": [1] * 5},
    "AutoencoderKLFlux2": {"block_out_channels": (8, 8, 8, 16), "layers_per_block": 1},
    "AutoencoderKLHunyuanImage": {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 16,
        "block_out_channels": (32, 32, 64, 64),
        "layers_per_block": 1,
        "spatial_compression_ratio": 8,
        "sample_size": 64,
        "scaling_factor": 0.75,
    },
    "BriaFibo2Transformer2DModel": {
        **{"dim": WIDTH, "n_layers": 2, "n_refiner_layers": 1, "n_heads": HEADS, "cap_feat_dim": 3 * WIDTH},
        **{"injection_layer_ids": (0, 0, 1, 1, 1), "axes_dims": (4, 6, 6), "perceiver_num_layers": 1},
        **{"min_num_gist_tokens": 8, "max_num_gist_tokens": 16, "gist_step": 4},
        **{"gist_min_text_len": 8, "gist_max_text_len": 64},
    },
    "BriaFiboTransformer2DModel": {"joint_attention_dim": 2 * WIDTH, "text_encoder_dim": WIDTH, "in_channels": 16 * 3},
    "ChromaTransformer2DModel": {"approximator_hidden_dim": WIDTH, "approximator_layers": 1},
    "DreamLiteUNetModel": {
        **{"block_out_channels": (16, 16, 32), "layers_per_block": 1, "attention_head_dim": (8, 8, 16)},
        **{"cross_attention_dim": WIDTH, "norm_num_groups": 8, "transformer_layers_per_block": 1},
    },
    "Flux2Transformer2DModel": {"joint_attention_dim": 3 * WIDTH},
    "HiDreamImageTransformer2DModel": {
        **{"patch_size": 2, "in_channels": 16, "caption_channels": (WIDTH, WIDTH), "text_emb_dim": 2 * WIDTH},
        **{"llama_layers": (0, 1), "axes_dims_rope": (8, 4, 4), "max_resolution": (32, 32)},
    },
    "HunyuanDiT2DModel": {"in_channels": 4, "patch_size": 2, "text_len_t5": 256},
    "HunyuanDiT2DControlNetModel": {"in_channels": 4, "patch_size": 2, "text_len_t5": 256},
    "HunyuanImageTransformer2DModel": {"in_channels": 16, "out_channels": 16, "patch_size": (2, 2)},
    "Ideogram4Transformer2DModel": {"llm_features_dim": 13 * WIDTH, "mrope_section": (3, 2, 2)},
    "Kandinsky3UNet": {
        **{"block_out_channels": (16, 32, 64, 128), "attention_head_dim": 8, "time_embedding_dim": 32},
        **{"layers_per_block": 1, "groups": 4},
    },
    "Krea2Transformer2DModel": {"num_text_layers": 12, "num_key_value_heads": 1},
    "LuminaNextDiT2DModel": {"num_kv_heads": 1, "num_layers": 1},
    "NucleusMoEImageTransformer2DModel": {"out_channels": 16},
    "OmniGenTransformer2DModel": {
        **{"vocab_size": 512, "pad_token_id": 3, "pos_embed_max_size": 16, "num_layers": 2},
        **{"rope_scaling": {"short_factor": [1.0] * 8, "long_factor": [1.0] * 8, "type": "su"}},
    },
    "PRXTransformer2DModel": {"axes_dim": [8, 8]},
    "PriorTransformer": {"num_embeddings": 77, "additional_embeddings": 4},
    "QwenImage21Transformer2DModel": {"mlp_ratio": 2},
    "StableCascadeUNet": {
        **{"conditioning_dim": WIDTH, "block_out_channels": (WIDTH, WIDTH), "num_attention_heads": (HEADS, HEADS)},
        **{"down_num_layers_per_block": (1, 1), "up_num_layers_per_block": (1, 1), "timestep_ratio_embedding_dim": 16},
        **{"clip_text_pooled_in_channels": WIDTH},
    },
    "MotionAdapter": {
        **{"block_out_channels": (16, 32), "motion_layers_per_block": 1, "motion_norm_num_groups": 8},
        **{"motion_num_attention_heads": HEADS},
    },
    "SD3ControlNetModel": {"joint_attention_dim": 2 * WIDTH, "pooled_projection_dim": 2 * WIDTH},
    "SanaControlNetModel": {"num_layers": 1, "sample_size": 2},
    "ZImageControlNetModel": {
        **{"control_layers_places": [0], "control_refiner_layers_places": [0], "control_in_dim": 16},
        **{"dim": WIDTH, "n_heads": HEADS, "n_kv_heads": HEADS},
    },
    "EasyAnimateTransformer3DModel": {"in_channels": 16, "out_channels": 16, "patch_size": 2},
    "WanVACETransformer3DModel": {"vace_layers": [0]},
    "WanAnimateTransformer3DModel": {},
    "PaellaVQModel": {"bottleneck_blocks": 1, "embed_dim": 16, "num_vq_embeddings": 32},
    "AutoencoderDC": {
        "attention_head_dim": 8,
        "encoder_block_out_channels": (32,) * 6,
        "decoder_block_out_channels": (32,) * 6,
        "encoder_layers_per_block": (1,) * 6,
        "decoder_layers_per_block": (1,) * 6,
    },
}

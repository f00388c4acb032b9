"""Text and image encoders of transformers with every size of their configuration made small."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from . import tokenizers

WIDTH = 32
VOCABULARY = 512
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": WIDTH // 2,
    "global_head_dim": WIDTH // 2,
    "num_global_key_value_heads": 2,
    "hidden_size_per_layer_input": 0,
    "query_pre_attn_scalar": WIDTH // 2,
    "projection_dim": WIDTH,
    "d_model": WIDTH,
    "d_kv": WIDTH // 2,
    "d_ff": 2 * WIDTH,
    "num_layers": 2,
    "num_heads": 2,
    "depth": 2,
    "embed_dim": WIDTH,
    "out_hidden_size": WIDTH,
    "image_size": 32,
    "mlp_ratio": 2,
    "num_position_embeddings": 16,
    "fullatt_block_indexes": [1],
    "deepstack_visual_indexes": [0, 1],
    "no_rope_layers": None,
    "n_embd": WIDTH,
    "n_layer": 2,
    "n_head": 2,
    "layer_types": None,
}
# what a class needs beside its sizes, and classes that stand for an abstract one
STANDS_FOR = {
    "Gemma2PreTrainedModel": "Gemma2Model",
    "GemmaPreTrainedModel": "GemmaModel",
    "PreTrainedModel": "Qwen3Model",
}
MROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6}
EXTRA: dict[str, dict[str, Any]] = {
    "Qwen2VLTextConfig": {"rope_parameters": MROPE},
    "Qwen2_5_VLTextConfig": {"rope_parameters": MROPE},
    "Qwen3VLTextConfig": {"rope_parameters": MROPE},
    "CLIPVisionConfig": {"patch_size": 8},
    "SiglipVisionConfig": {"patch_size": 8},
    "PixtralVisionConfig": {"patch_size": 8},
}
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def shrunk(config_class: Any, **more: Any) -> Any:
    """A configuration of the class, and of those inside it, with small sizes.

    Args:
        more: further values; those that a text configuration inside has are given to that.
    """
    stock = config_class()
    inner = {name: value for name, value in more.items() if hasattr(getattr(stock, "text_config", None), name)}
    small: dict[str, Any] = {}
    for name, value in vars(stock).items():
        if hasattr(value, "to_dict") and hasattr(value, "model_type"):
            small[name] = shrunk(type(value), **(inner if name == "text_config" else {})).to_dict()
        elif name in SIZES and value is not None:
            small[name] = SIZES[name]
        elif name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
            token = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}.get(
                name, f"<|{name.removesuffix('_token_id')}|>"
            )
            small[name] = tokenizers.qwen2().convert_tokens_to_ids(token)
        elif name in TOKEN_IDS and value is not None:
            small[name] = 0
    own = {name: value for name, value in more.items() if name not in inner}
    return config_class(**small | EXTRA.get(config_class.__name__, {}) | own)


def t5_gemma() -> Any:
    """The encoder of a T5Gemma, which has a configuration of its own."""
    from transformers.models.t5gemma import modeling_t5gemma

    config = shrunk(transformers.T5GemmaConfig().encoder.__class__)
    config.dropout_rate = 0.0
    return spread_embeddings(modeling_t5gemma.T5GemmaEncoder(config))


def t5_gemma_2() -> Any:
    """The encoder of a T5Gemma 2."""
    config = shrunk(transformers.T5Gemma2EncoderConfig)
    config.text_config.dropout_rate = 0.0
    return spread_embeddings(transformers.T5Gemma2Encoder(config))


def multilingual_clip() -> Any:
    """Kandinsky 2.1's text encoder."""
    from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP

    config = shrunk(MCLIPConfig, transformerDimSize=WIDTH, imageDimSize=WIDTH)
    return spread_embeddings(MultilingualCLIP(config))


def latent_diffusion_bert() -> Any:
    """The text encoder of the first latent diffusion."""
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel

    config = LDMBertConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=tokenizers.CLIP_LENGTH,
        encoder_layers=1,
        encoder_ffn_dim=2 * WIDTH,
        encoder_attention_heads=2,
        head_dim=WIDTH // 2,
        d_model=WIDTH,
    )
    return spread_embeddings(LDMBertModel(config))


def encoder(name: str, tokenizer: Any = None, **more: Any) -> Any:
    """A tiny model of a transformers class by its name, its embeddings spread so that every prompt is a distinct one.

    Args:
        tokenizer: the one that it reads tokens of; special ones get the same numbers.
        more: of the configuration.
    """
    name = STANDS_FOR.get(name, name)
    model = getattr(transformers, name)
    config = shrunk(model.config_class, **more)
    inner = getattr(config, "text_config", config)
    if name.startswith("CLIPText"):
        inner.max_position_embeddings = tokenizers.CLIP_LENGTH
    for token in TOKEN_IDS:
        if tokenizer is not None and getattr(tokenizer, token, None) is not None and hasattr(inner, token):
            setattr(inner, token, getattr(tokenizer, token))
    return spread_embeddings(model(config))


def spread_embeddings(model: Any) -> Any:
    """Embeddings of one size everywhere; each model's own start differs by orders of magnitude."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Embedding) and module.num_embeddings > 64:
                module.weight.normal_(std=1.0)
    return model

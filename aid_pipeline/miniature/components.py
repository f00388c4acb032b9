"""Untrained parts of the miniature: stock classes, sized so that all weights fit in 32 MB of fp16.

``ARCHITECTURE`` is a diffusers folder without weights: which class each part is, and how autoencoder, denoiser and
scheduler differ from their classes' defaults.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .scenes import words

if TYPE_CHECKING:
    from diffusers import AutoencoderTiny, DDIMScheduler, DiffusionPipeline
    from torch import nn
    from transformers import CLIPModel, CLIPTokenizer

ARCHITECTURE = Path(__file__).parent / "architecture"
_INDEX, _DENOISER, _AUTOENCODER = (
    json.loads((ARCHITECTURE / name).read_text("utf-8"))
    for name in ("model_index.json", "unet/config.json", "vae/config.json")
)

TEXT_LENGTH = 32
WIDTH: int = _DENOISER["cross_attention_dim"]  # of both CLIP towers, and of the embedding space they share
LATENT_CHANNELS: int = _DENOISER["in_channels"]
LATENT_SIZE: int = _DENOISER["sample_size"]


def new_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer with one token for each word of the grammar, and byte tokens from which any other text is
    spelt.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    spelling = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    spelling.pre_tokenizer = pre_tokenizers.Whitespace()
    # No limit and no least frequency: merging goes on until every word is one token.
    trainer = trainers.BpeTrainer(vocab_size=100_000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False)
    spelling.train_from_iterator(words(), trainer)
    merges = [tuple(pair) for pair in json.loads(spelling.to_str())["model"]["merges"]]
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), *dict.fromkeys(a + b for a, b in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TEXT_LENGTH)


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    from transformers import CLIPConfig, CLIPModel

    tower = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "projection_dim": WIDTH,
    }
    text = {
        **tower,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": TEXT_LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**tower, "image_size": 64, "patch_size": 8}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))


def new_vae() -> AutoencoderTiny:
    """A linear encoder of 4x4 patches (48 numbers, no residual blocks) and a convolutional decoder without
    normalisation layers.
    """
    from diffusers import AutoModel

    return AutoModel.from_config(_AUTOENCODER)


def new_unet() -> nn.Module:
    """The denoiser: two heads everywhere, of the sizes Stable Diffusion 1.x has too: 40 at 16x16 and 80 at 8x8.

    Its configuration has the number of heads as ``attention_head_dim``, which is how diffusers reads it.
    """
    from diffusers import AutoModel

    return AutoModel.from_config(_DENOISER)


def new_scheduler() -> DDIMScheduler:
    """v-prediction on noise levels that end in pure noise, so that brightness is learnt as well."""
    from diffusers import DDIMScheduler

    return DDIMScheduler.from_pretrained(ARCHITECTURE / "scheduler")


def new_pipeline(**parts: Any) -> DiffusionPipeline:
    """The stock pipeline of these parts and the miniature's scheduler; it takes no image prompts and checks no images.

    Args:
        parts: text encoder, tokenizer, denoiser and autoencoder, by their names in ``model_index.json``.
    """
    import diffusers

    absent = dict.fromkeys(("feature_extractor", "safety_checker"))
    stock: type[DiffusionPipeline] = getattr(diffusers, _INDEX["_class_name"])
    return stock(**absent, requires_safety_checker=False, scheduler=new_scheduler(), **parts)

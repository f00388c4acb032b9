"""Untrained parts of the miniature: stock classes, sized so that all weights fit in 32 MB of fp16."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .scenes import words

if TYPE_CHECKING:
    from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPModel, CLIPTokenizer

TEXT_LENGTH = 32
WIDTH = 128  # of both CLIP towers, and of the embedding space they share
LATENT_CHANNELS, LATENT_SIZE = 12, 16


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
    import json

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
    """A linear encoder of 4x4 patches (no residual blocks) and a convolutional decoder without normalisation layers."""
    from diffusers import AutoencoderTiny

    return AutoencoderTiny(
        encoder_block_out_channels=(48, 48, 48),  # 48 numbers are a 4x4 patch
        decoder_block_out_channels=(48, 48, 48),
        num_encoder_blocks=(0, 0, 0),
        num_decoder_blocks=(3, 2, 1),
        latent_channels=LATENT_CHANNELS,
    )


def new_unet() -> UNet2DConditionModel:
    """Two heads everywhere, of the sizes Stable Diffusion 1.x has too: 40 at 16x16 and 80 at 8x8."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(80, 160),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(2, 2),  # diffusers reads this as the number of heads
        cross_attention_dim=WIDTH,
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    """v-prediction on noise levels that end in pure noise, so that brightness is learnt as well."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )

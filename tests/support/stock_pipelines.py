"""Tiny random stock pipelines of every supported family, from stock components, built without a network.

Hidden sizes are 16-48, head sizes multiples of 8, latents 8x8 (16x16 pixels). Queries and keys are scaled up: with
default weights the softmax is almost flat, and a test of attention would hardly notice wrong attention.
"""

import functools
import string
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

PIXELS = 16
TOKENS = 32  # the CLIP tokenizers' model_max_length; room for short prompts, since a letter is a token
T5_TOKENS = 24  # passed to the stock call as max_sequence_length


@functools.cache
def clip_tokenizer() -> transformers.CLIPTokenizer:
    """One token per letter: a real byte-pair tokenizer without merges."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)}, merges=[], model_max_length=TOKENS
    )


@functools.cache
def t5_tokenizer() -> transformers.T5Tokenizer:
    """One token per letter, "▁" for a space; unknown characters are far less likely."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0)]
    letters = [(letter, -3.0) for letter in "▁" + string.ascii_letters + string.digits + string.punctuation]
    return transformers.T5Tokenizer(vocab=special + letters, extra_ids=0, model_max_length=64)


def clip_text(hidden: int, projection: int | None = None) -> Any:
    """A tiny CLIP text encoder; with `projection`, the variant that returns a pooled embedding of that size."""
    tokenizer = clip_tokenizer()
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        projection_dim=projection or hidden,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    cls = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    return spread_embeddings(cls(config))


def t5_text(hidden: int) -> transformers.T5EncoderModel:
    config = transformers.T5Config(
        vocab_size=len(t5_tokenizer()), d_model=hidden, d_kv=8, d_ff=hidden, num_layers=1, num_heads=2
    )
    return spread_embeddings(transformers.T5EncoderModel(config))


def spread_embeddings(model: Any) -> Any:
    """CLIP and T5 start with embeddings of very different sizes; make every prompt a distinct one."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Embedding) and module.num_embeddings > 16:
                module.weight.normal_(std=1.0)
    return model


def image_vae(**config: Any) -> diffusers.AutoencoderKL:
    """A VAE that halves the image side: 16x16 pixels are 8x8 latents."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        **config,
    )


def sharpen(denoiser: nn.Module, logit_scale: float = 2.0) -> nn.Module:
    """Scale query and key projections so that the softmax has peaks and a wrong source shows in the frames."""
    with torch.no_grad():
        for name, parameter in denoiser.named_parameters():
            if name.endswith(("to_q.weight", "to_k.weight", "add_q_proj.weight", "add_k_proj.weight")):
                parameter.mul_(logit_scale)
    return denoiser


def unet(**config: Any) -> diffusers.UNet2DConditionModel:
    defaults: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 2,  # diffusers' old name: the number of heads, so head sizes are 8 and 16
        "norm_num_groups": 8,
        "cross_attention_dim": 32,
    }
    return sharpen(diffusers.UNet2DConditionModel(**defaults | config))


STABLE_DIFFUSION_BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def sd1(**unet_config: Any) -> diffusers.StableDiffusionPipeline:
    """Stable Diffusion 1.x: epsilon prediction, two heads at both resolutions (head sizes 8 and 16)."""
    return diffusers.StableDiffusionPipeline(
        vae=image_vae(),
        text_encoder=clip_text(32),
        tokenizer=clip_tokenizer(),
        unet=unet(**unet_config),
        scheduler=diffusers.DDIMScheduler(**STABLE_DIFFUSION_BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sd2() -> diffusers.StableDiffusionPipeline:
    """Stable Diffusion 2.x: v-prediction, linear projections around the transformer, more heads further down."""
    return diffusers.StableDiffusionPipeline(
        vae=image_vae(),
        text_encoder=clip_text(32),
        tokenizer=clip_tokenizer(),
        unet=unet(use_linear_projection=True, attention_head_dim=(2, 4)),
        scheduler=diffusers.DDIMScheduler(**STABLE_DIFFUSION_BETAS, prediction_type="v_prediction"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> diffusers.StableDiffusionXLPipeline:
    """SDXL: two text encoders, pooled and size conditions, several transformer layers in a block."""
    return diffusers.StableDiffusionXLPipeline(
        vae=image_vae(),
        text_encoder=clip_text(16),
        text_encoder_2=clip_text(24, projection=16),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet(
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2),
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            cross_attention_dim=16 + 24,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=16 + 6 * 8,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            timestep_spacing="leading",
        ),
    )


def sd3(t5: bool = True) -> diffusers.StableDiffusion3Pipeline:
    """SD3: joint attention. With T5 as 3.5 (QK norm, a dual-attention layer), without as 3.0."""
    return diffusers.StableDiffusion3Pipeline(
        transformer=sharpen(
            diffusers.SD3Transformer2DModel(
                sample_size=8,
                patch_size=2,
                in_channels=4,
                out_channels=4,
                num_layers=3,
                attention_head_dim=8,
                num_attention_heads=3,
                joint_attention_dim=48,
                caption_projection_dim=24,
                pooled_projection_dim=16 + 24,
                pos_embed_max_size=16,
                dual_attention_layers=(0,) if t5 else (),
                qk_norm="rms_norm" if t5 else None,
            )
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=image_vae(shift_factor=0.06),
        text_encoder=clip_text(16, projection=16),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_text(24, projection=24),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5_text(48) if t5 else None,
        tokenizer_3=t5_tokenizer() if t5 else None,
    )


def flux(guidance_embeds: bool = True) -> diffusers.FluxPipeline:
    """FLUX.1: rotary positions, double and single stream blocks; true CFG is a second call of the denoiser."""
    return diffusers.FluxPipeline(
        transformer=sharpen(
            diffusers.FluxTransformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=24,
                pooled_projection_dim=16,
                guidance_embeds=guidance_embeds,
                axes_dims_rope=(4, 4, 8),
            )
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=guidance_embeds),
        vae=image_vae(shift_factor=0.06),
        text_encoder=clip_text(16),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5_text(24),
        tokenizer_2=t5_tokenizer(),
    )


def pixart_sigma() -> diffusers.PixArtSigmaPipeline:
    """PixArt-Sigma: T5 prompts with a mask each, so cross-attention is masked differently in every frame."""
    return diffusers.PixArtSigmaPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_text(24),
        vae=image_vae(),
        transformer=sharpen(
            diffusers.PixArtTransformer2DModel(
                sample_size=8,
                patch_size=2,
                in_channels=4,
                out_channels=8,
                num_layers=2,
                attention_head_dim=8,
                num_attention_heads=3,
                cross_attention_dim=24,
                caption_channels=24,
                use_additional_conditions=False,
            )
        ),
        scheduler=diffusers.DPMSolverMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", algorithm_type="dpmsolver++"
        ),
    )

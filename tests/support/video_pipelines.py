"""Tiny video pipelines: text read by cross-attention (Wan, LTX) and by joint attention (CogVideoX)."""

import diffusers
import torch
import transformers
from torch import nn

from .stock_pipelines import sharpen, spread_embeddings, t5_text, t5_tokenizer

TOKENS = 24
LENGTH = 5  # images in a clip
CALL = {"num_inference_steps": 3, "height": 32, "width": 32, "num_frames": LENGTH, "max_sequence_length": TOKENS}


def wan():
    config = transformers.UMT5Config(
        vocab_size=len(t5_tokenizer()), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2
    )
    return diffusers.WanPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=spread_embeddings(transformers.UMT5EncoderModel(config)),
        vae=diffusers.AutoencoderKLWan(base_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
        transformer=diffusers.WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=16, text_dim=32, freq_dim=32, ffn_dim=32, num_layers=2
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
    )


def ltx(**vae):
    return diffusers.LTXPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_text(32),
        vae=diffusers.AutoencoderKLLTXVideo(
            latent_channels=8,
            block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            layers_per_block=(1,) * 5,
            decoder_layers_per_block=(1,) * 5,
            spatio_temporal_scaling=(True, True, False, False),
            decoder_spatio_temporal_scaling=(True, True, False, False),
            patch_size=2,
            **vae,
        ),
        transformer=diffusers.LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=16,
            cross_attention_dim=32,
            num_layers=2,
            caption_channels=32,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


def cogvideox():
    return diffusers.CogVideoXPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_text(32),
        vae=diffusers.AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
        ),
        transformer=diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=4,
            out_channels=4,
            time_embed_dim=8,
            text_embed_dim=32,
            num_layers=2,
            sample_width=4,
            sample_height=4,
            sample_frames=LENGTH,
            max_text_seq_length=TOKENS,
        ),
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    )


MAKERS = {"wan": wan, "ltx": ltx, "cogvideox": cogvideox}


def fresh(name, **more):
    """A new pipeline with the same weights every time; gates that start at zero are filled, so that attention shows."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipe = MAKERS[name](**more)
        for parameter in sharpen(pipe.transformer, 3.0).parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.data.normal_(std=0.1)
    for component in pipe.components.values():
        if isinstance(component, nn.Module):
            component.eval().requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    return pipe

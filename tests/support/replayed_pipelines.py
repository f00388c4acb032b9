"""Tiny pipelines of further kinds, whose text encodings and rows have other shapes."""

import copy

import diffusers
import torch
import transformers
from torch import nn

from .stock_pipelines import image_vae, sharpen, spread_embeddings, t5_text, t5_tokenizer


def aura_flow():
    """Two streams, then one; the negative prompt is encoded in the same call."""
    config = transformers.UMT5Config(
        vocab_size=len(t5_tokenizer()), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2
    )
    return diffusers.AuraFlowPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=spread_embeddings(transformers.UMT5EncoderModel(config)),
        vae=image_vae(),
        transformer=diffusers.AuraFlowTransformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=32,
            pos_embed_max_size=64,
            out_channels=4,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


def cogview3():
    """One stream of text and image; sizes as further conditions."""
    return diffusers.CogView3PlusPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_text(32),
        vae=image_vae(),
        transformer=diffusers.CogView3PlusTransformer2DModel(
            patch_size=2,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            out_channels=4,
            text_embed_dim=32,
            time_embed_dim=8,
            condition_dim=2,
            pos_embed_max_size=8,
            sample_size=8,
        ),
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    )


def bria():
    """Positions of text and image apart from rows; prompts are padded to the longest."""
    return diffusers.BriaPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_text(32),
        vae=image_vae(),
        transformer=diffusers.BriaTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=None,
            axes_dims_rope=[0, 4, 4],
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


def z_image():
    """Lists of a tensor per image and per text, conditional ones first; rotary positions as complex numbers."""
    tokenizer = copy.deepcopy(t5_tokenizer())
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=32,
        axes_dims=[4, 4, 8],
        axes_lens=[256, 32, 32],
    )
    for token in (transformer.x_pad_token, transformer.cap_pad_token):
        token.data.normal_()  # diffusers leaves them as they are in memory
    return diffusers.ZImagePipeline(
        tokenizer=tokenizer,
        text_encoder=t5_text(32),
        vae=image_vae(),
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


MAKERS = {"aura_flow": aura_flow, "cogview3": cogview3, "bria": bria, "z_image": z_image}
TOKENS = 24


def fresh(name):
    """A new pipeline with the same weights every time; gates that start at zero are filled, so that attention shows."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipe = MAKERS[name]()
        for parameter in sharpen(pipe.transformer).parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.data.normal_(std=0.1)
    for component in pipe.components.values():
        if isinstance(component, nn.Module):
            component.eval().requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    return pipe

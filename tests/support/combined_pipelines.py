"""Tiny combined pipelines: a prior and a decoder. Kandinsky's prior denoises a vector, the others' an image."""

import diffusers
import torch
import transformers
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel
from diffusers.pipelines.deprecated.wuerstchen.modeling_wuerstchen_diffnext import WuerstchenDiffNeXt
from diffusers.pipelines.deprecated.wuerstchen.modeling_wuerstchen_prior import WuerstchenPrior
from torch import nn

from .stock_pipelines import TOKENS, clip_text, clip_tokenizer, sharpen

SIZE = 16  # of text and image embeddings


def kandinsky():
    prior = diffusers.PriorTransformer(
        num_attention_heads=2, attention_head_dim=8, embedding_dim=SIZE, num_layers=1, num_embeddings=TOKENS
    )
    prior.clip_std = nn.Parameter(torch.ones(prior.clip_std.shape))  # zeros would make every embedding the same
    vision = transformers.CLIPVisionConfig(
        hidden_size=SIZE, projection_dim=SIZE, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        image_size=8, patch_size=4,
    )  # fmt: skip
    return diffusers.KandinskyV22CombinedPipeline(
        unet=diffusers.UNet2DConditionModel(
            in_channels=4,
            out_channels=8,  # mean and variance
            addition_embed_type="image",
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            block_out_channels=(16, 32),
            norm_num_groups=8,
            layers_per_block=1,
            encoder_hid_dim=SIZE,
            encoder_hid_dim_type="image_proj",
            cross_attention_dim=16,
            attention_head_dim=8,
            resnet_time_scale_shift="scale_shift",
        ),
        scheduler=diffusers.DDPMScheduler(beta_schedule="linear", beta_start=0.0001, beta_end=0.02),
        movq=diffusers.VQModel(
            block_out_channels=(32, 32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            norm_num_groups=4,
            num_vq_embeddings=8,
            vq_embed_dim=4,
            norm_type="spatial",
        ),
        prior_prior=prior,
        prior_image_encoder=transformers.CLIPVisionModelWithProjection(vision),
        prior_text_encoder=clip_text(SIZE, projection=SIZE),
        prior_tokenizer=clip_tokenizer(),
        prior_scheduler=diffusers.UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", num_train_timesteps=1000, clip_sample_range=5.0
        ),
        prior_image_processor=transformers.CLIPImageProcessor(crop_size=8, size={"shortest_edge": 8}),
    )


def _cascade_unet(**config):
    layers = ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock")
    return diffusers.StableCascadeUNet(
        conditioning_dim=16,
        block_out_channels=(16, 16),
        num_attention_heads=(2, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        clip_text_pooled_in_channels=SIZE,
        block_types_per_layer=(layers, layers),
        dropout=(0.0, 0.0),
        **config,
    )


def stable_cascade():
    return diffusers.StableCascadeCombinedPipeline(
        tokenizer=clip_tokenizer(),
        text_encoder=clip_text(SIZE, projection=SIZE),
        decoder=_cascade_unet(in_channels=4, out_channels=4, effnet_in_channels=16),
        scheduler=diffusers.DDPMWuerstchenScheduler(),
        vqgan=PaellaVQModel(bottleneck_blocks=1, embed_dim=8, num_vq_embeddings=8),
        prior_prior=_cascade_unet(clip_text_in_channels=SIZE, clip_image_in_channels=SIZE, switch_level=(False,)),
        prior_text_encoder=clip_text(SIZE, projection=SIZE),
        prior_tokenizer=clip_tokenizer(),
        prior_scheduler=diffusers.DDPMWuerstchenScheduler(),
    )


def wuerstchen():
    prior = WuerstchenPrior(c_in=16, c=16, c_cond=SIZE, depth=2, nhead=2, dropout=0.0)
    prior.set_attn_processor(AttnProcessor2_0())  # its default has its softmax written out
    return diffusers.WuerstchenCombinedPipeline(
        tokenizer=clip_tokenizer(),
        text_encoder=clip_text(SIZE),
        decoder=WuerstchenDiffNeXt(
            c_cond=16,
            c_hidden=[16, 16],
            nhead=[-1, 2],
            blocks=[1, 1],
            level_config=["CT", "CTA"],
            inject_effnet=[False, True],
            clip_embd=SIZE,
            dropout=0.0,
        ),
        scheduler=diffusers.DDPMWuerstchenScheduler(),
        vqgan=PaellaVQModel(bottleneck_blocks=1, embed_dim=8, num_vq_embeddings=8),
        prior_tokenizer=clip_tokenizer(),
        prior_text_encoder=clip_text(SIZE),
        prior_prior=prior,
        prior_scheduler=diffusers.DDPMWuerstchenScheduler(),
    )


MAKERS = {"kandinsky": kandinsky, "stable_cascade": stable_cascade, "wuerstchen": wuerstchen}
CALL = {"num_inference_steps": 3, "prior_num_inference_steps": 2, "height": 128, "width": 128}
GUIDANCE = dict.fromkeys(MAKERS, "decoder_guidance_scale") | {"kandinsky": "guidance_scale"}


def fresh(name):
    """A new pipeline with the same weights every time; gates that start at zero are filled, so that attention shows."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipe = MAKERS[name]()
        for component in pipe.components.values():
            if isinstance(component, nn.Module):
                component.eval().requires_grad_(False)
                for parameter in sharpen(component, 3.0).parameters():
                    if parameter.ndim > 1 and not parameter.any():
                        parameter.data.normal_(std=0.1)
    pipe.set_progress_bar_config(disable=True)
    return pipe

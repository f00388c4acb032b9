"""What single pipelines need beside their signatures: options of components, and components made by a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers

from . import text
from .text import WIDTH

CALLABLES: dict[str, Callable[..., Any]] = {
    "T5GemmaEncoder": text.t5_gemma,
    "T5Gemma2Encoder": text.t5_gemma_2,
    "MultilingualCLIP": text.multilingual_clip,
    "LDMBertModel": text.latent_diffusion_bert,
    "ClassifierFreeGuidance": diffusers.ClassifierFreeGuidance,
}
DEEP = {"num_hidden_layers": 36}  # pipelines name layers that they take, as deep as that


class Guard:
    """A safety checker that lets everything pass."""

    def to(self, device: Any) -> Guard:
        return self

    def check_text_safety(self, text: str) -> bool:
        return True

    def check_video_safety(self, video: Any) -> Any:
        return video


GUARD = Guard()
ADAPTER = {"cls": "T2IAdapter", "channels": [16, 32], "num_res_blocks": 1, "downscale_factor": 8}
IF = {
    "in_channels": 3,
    "out_channels": 6,
    "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
    "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "attention_head_dim": 8,
    "encoder_hid_dim": WIDTH,
    "encoder_hid_dim_type": "text_proj",
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 2,
    "cross_attention_norm": "group_norm",
    "resnet_time_scale_shift": "scale_shift",
    "act_fn": "gelu",
}
IF_LARGER = {"unet": {"in_channels": 6, "class_embed_type": "timestep"}}
UNET_2D = {"cls": "UNet2DConditionModel"}
SEES: dict[str, Any] = {"image_encoder": {}, "feature_extractor": {}}
SD3 = {
    "transformer": {"joint_attention_dim": 2 * WIDTH, "pooled_projection_dim": 2 * WIDTH},
    "controlnet": {"joint_attention_dim": 2 * WIDTH, "pooled_projection_dim": 2 * WIDTH},
    "text_encoder_3": {"d_model": 2 * WIDTH},
}
# by the start of the pipeline's name and by component: arguments of its configuration ("cls" names another class)
OPTIONS: dict[str, dict[str, Any]] = {
    "StableDiffusion3": SD3,
    "BriaFibo2": {"text_encoder": DEEP},
    "BriaFiboP": {"text_encoder": {"vocab_size": 128_256}},
    "BriaFiboE": {"text_encoder": {"vocab_size": 128_256}},
    "Flux2": {"text_encoder": DEEP},
    "Ideogram4": {"text_encoder": {"cls": "Qwen3VLModel", **DEEP}},
    "Krea2": {"text_encoder": DEEP},
    "NucleusMoEImage": {"text_encoder": DEEP},
    "Cosmos": {"safety_checker": GUARD},
    "IF": {"unet": IF, "scheduler": {"cls": "DDPMScheduler", "variance_type": "learned_range"}},
    "LatentConsistencyModel": {"unet": {"time_cond_proj_dim": 16}},
    "HunyuanDiT": {"text_encoder_2": {}, "tokenizer_2": {}},
    "LDMTextToImage": {
        "unet": {"cls": "UNet2DConditionModel"},
        "bert": {"cls": "LDMBertModel"},
        "vqvae": {"cls": "AutoencoderKL"},
    },
    "StableCascadePrior": {
        "prior": {"clip_image_in_channels": WIDTH, "clip_text_in_channels": WIDTH},
        "image_encoder": {},
    },
    "StableDiffusionAdapter": {"adapter": ADAPTER},
    "StableDiffusionXLAdapter": {"adapter": ADAPTER},
    "StableDiffusionModelEditing": {"scheduler": {"cls": "DDIMScheduler"}},
    "CogView4Control": {"transformer": {"in_channels": 32}},
    "FluxControlP": {"transformer": {"in_channels": 128, "out_channels": 64}},
    "FluxControlI": {"transformer": {"in_channels": 128, "out_channels": 64}},
    "FluxFill": {"transformer": {"in_channels": 384, "out_channels": 64}},
    "IFSuperResolution": IF_LARGER,
    "IFImg2ImgSuperResolution": IF_LARGER,
    "IFInpaintingSuperResolution": IF_LARGER,
    "SanaSprint": {"scheduler": {"cls": "SCMScheduler"}, "transformer": {"guidance_embeds": True}},
    "SanaVideo": {"vae": {"cls": "AutoencoderKLWan"}},
    "SanaImageToVideo": {"vae": {"cls": "AutoencoderKLWan"}},
    "StableDiffusion3ControlNetInpainting": {"controlnet": {"extra_conditioning_channels": 1}},
    "CogVideoXImageToVideo": {"transformer": {"in_channels": 32}},
    "CogVideoXFunControl": {"transformer": {"in_channels": 32}},
    "CogVideoX": {"transformer": {"max_text_seq_length": 64}},
    "HunyuanSkyreels": {"transformer": {"in_channels": 32}},
    "StableUnCLIPImg2Img": SEES,
    "StableDiffusionControlNetXS": {"controlnet": {"cls": "ControlNetXSAdapter"}, "unet": UNET_2D},
    "StableDiffusionXLControlNetXS": {"controlnet": {"cls": "ControlNetXSAdapter"}, "unet": UNET_2D},
    "StableDiffusionInpaint": {"vae": {"cls": "AutoencoderKL"}},
    "StableDiffusionUpscale": {"unet": {"in_channels": 7, "num_class_embeds": 100}},
    "StableDiffusionInstructPix2Pix": {"unet": {"in_channels": 8}},
    "StableDiffusionXLInstructPix2Pix": {"unet": {"in_channels": 8}},
    "AnimateDiff": {"unet": {"cls": "UNet2DConditionModel"}},
    "HunyuanVideo15": {"guider": {}},
    "HunyuanDiTPAG": {"transformer": {"num_layers": 2}},
    "QwenImageControlNetInpaint": {"controlnet": {"extra_condition_channels": 4}},
    "WanImageToVideo": {"transformer": {"in_channels": 36}},
    "FluxPriorRedux": SEES,
    "HunyuanVideo15ImageToVideo": SEES,
    "HunyuanVideoFramepack": SEES,
    "MotifVideoImage2Video": SEES,
    "I2VGenXL": SEES,
    "ZImageOmni": {"siglip": {}, "siglip_processor": {"cls": "Siglip2ImageProcessor"}},
    "LucyEdit": {"transformer": {"in_channels": 32}},
    "PIA": {"unet": {"cls": "UNet2DConditionModel"}, "motion_adapter": {"conv_in_channels": 9}},
    "EasyAnimate": {
        "text_encoder": {"cls": "Qwen2VLForConditionalGeneration"},
        "tokenizer": {"cls": "Qwen2Tokenizer"},
    },
    "MotifVideo": {"guider": {"cls": "ClassifierFreeGuidance"}},
    "PixArtSigmaPAG": {"transformer": {"num_layers": 2}, "pag_applied_layers": "blocks.0"},
    "StableDiffusion3PAG": {"transformer": {"num_layers": 2}},
}

# what a pipeline keeps of its trained model's sizes
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "HiDreamImagePipeline": {"default_sample_size": 8},
    "Kandinsky5T2IPipeline": {"resolutions": [(64, 64)]},
    "Kandinsky5I2IPipeline": {"resolutions": [(64, 64)]},
}


def options_of(pipeline: str) -> dict[str, Any]:
    """Options of a pipeline's components; those of longer beginnings of its name go before."""
    found: dict[str, Any] = {}
    for start in sorted(OPTIONS, key=len):
        for component, given in OPTIONS[start].items() if pipeline.startswith(start) else ():
            both = isinstance(given, dict) and isinstance(found.get(component), dict)
            found[component] = {**found[component], **given} if both else given
    return found

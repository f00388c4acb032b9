"""What single pipelines need beside their signatures: options of components, and components made by a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import text
from .text import WIDTH

CALLABLES: dict[str, Callable[..., Any]] = {
    "T5GemmaEncoder": text.t5_gemma,
    "T5Gemma2Encoder": text.t5_gemma_2,
    "MultilingualCLIP": text.multilingual_clip,
    "LDMBertModel": text.latent_diffusion_bert,
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
SD3 = {
    "transformer": {"joint_attention_dim": 2 * WIDTH, "pooled_projection_dim": 2 * WIDTH},
    "controlnet": {"joint_attention_dim": 2 * WIDTH, "pooled_projection_dim": 2 * WIDTH},
    "text_encoder_3": {"d_model": 2 * WIDTH},
}
# by pipeline and component: arguments of its configuration ("cls" names another class); None leaves it out
OPTIONS: dict[str, dict[str, Any]] = {
    "StableDiffusion3Pipeline": SD3,
    "BriaFibo2Pipeline": {"text_encoder": DEEP},
    "BriaFiboPipeline": {"text_encoder": {"vocab_size": 128_256}},
    "Flux2Pipeline": {"text_encoder": DEEP},
    "Flux2KleinPipeline": {"text_encoder": DEEP},
    "Ideogram4Pipeline": {"text_encoder": {"cls": "Qwen3VLModel", **DEEP}},
    "Krea2Pipeline": {"text_encoder": DEEP},
    "NucleusMoEImagePipeline": {"text_encoder": DEEP},
    "Cosmos2TextToImagePipeline": {"safety_checker": GUARD},
    "IFPipeline": {"unet": IF, "scheduler": {"cls": "DDPMScheduler", "variance_type": "learned_range"}},
    "LatentConsistencyModelPipeline": {"unet": {"time_cond_proj_dim": 16}},
    "HunyuanDiTPipeline": {"text_encoder_2": {}, "tokenizer_2": {}},
    "LDMTextToImagePipeline": {"unet": {"cls": "UNet2DConditionModel"}, "bert": {"cls": "LDMBertModel"}},
    "StableCascadePriorPipeline": {
        "prior": {"clip_image_in_channels": WIDTH, "clip_text_in_channels": WIDTH},
        "image_encoder": {},
    },
}

"""SDXL and FLUX in proportion: their pipelines with every width a fraction, for the memory of a long sequence.

A width's fraction leaves the ratio of any two tensors as it is: embeddings of all frames beside a chunk's activations.
What tensors take at once does not depend on the depth, so few layers run; weights are counted at the whole depth.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import torch

from aid_pipeline.miniature import components
from benchmarks.denoiser.unets import CONFIGS

SDXL_FRACTION, FLUX_FRACTION = 4, 8
CLIP_TOKENS, T5_TOKENS = 77, 512
SDXL_PIXELS, FLUX_PIXELS = 512, 1024


def sdxl() -> tuple[Any, int]:
    """SDXL at a quarter of its widths with random bf16 weights, and the bytes of all its weights."""
    from diffusers import EulerDiscreteScheduler

    pipeline, denoiser = _classes("sdxl")
    narrow = dict(CONFIGS["sdxl-1024"])
    narrow["block_out_channels"] = tuple(width // SDXL_FRACTION for width in narrow["block_out_channels"])
    narrow["cross_attention_dim"] //= SDXL_FRACTION
    narrow["projection_class_embeddings_input_dim"] = 1280 // SDXL_FRACTION + 6 * 256
    narrow |= {"sample_size": SDXL_PIXELS // 8, "norm_num_groups": 16}
    shallow = narrow | {"transformer_layers_per_block": (1, 1, 1)}
    torch.manual_seed(0)
    pipe = pipeline(
        vae=components.new_vae(),
        text_encoder=_clip(768 // SDXL_FRACTION, heads=3),
        text_encoder_2=_clip(1280 // SDXL_FRACTION, heads=5, projection=1280 // SDXL_FRACTION),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(),
        unet=denoiser(**shallow),
        scheduler=EulerDiscreteScheduler(),
    )
    with torch.device("meta"):
        whole = denoiser(**narrow)
    return _ready(pipe), _bytes(pipe.text_encoder, pipe.text_encoder_2, pipe.vae, whole)


def flux() -> tuple[Any, int]:
    """FLUX.1 at an eighth of its widths with random bf16 weights, and the bytes of all its weights."""
    from diffusers import FlowMatchEulerDiscreteScheduler
    from transformers import T5Config, T5EncoderModel

    pipeline, denoiser = _classes("flux")
    narrow: dict[str, Any] = {
        "num_attention_heads": 24 // FLUX_FRACTION,
        "joint_attention_dim": 4096 // FLUX_FRACTION,
        "pooled_projection_dim": 768 // FLUX_FRACTION,
        "guidance_embeds": True,
    }
    torch.manual_seed(0)
    t5 = T5Config(vocab_size=len(_tokenizer()), d_model=4096 // FLUX_FRACTION, d_kv=64, d_ff=1280, num_heads=8)
    t5.num_layers = 1
    pipe = pipeline(
        vae=_flux_vae(),
        text_encoder=_clip(768 // FLUX_FRACTION, heads=3),
        text_encoder_2=T5EncoderModel(t5),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(T5_TOKENS),
        transformer=denoiser(**narrow, num_layers=1, num_single_layers=1),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    t5.num_layers = 24
    with torch.device("meta"):
        whole = denoiser(**narrow), T5EncoderModel(t5)
    return _ready(pipe), _bytes(pipe.text_encoder, pipe.vae, *whole)


def _classes(name: str) -> tuple[Any, Any]:
    """The classes of diffusers of a pipeline and its denoiser."""
    import diffusers

    named = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))[name]
    return getattr(diffusers, named["pipeline"]), getattr(diffusers, named["denoiser"])


def _tokenizer(length: int = CLIP_TOKENS) -> Any:
    tokenizer = components.new_tokenizer()
    tokenizer.model_max_length = length
    return tokenizer


def _clip(width: int, heads: int, projection: int | None = None) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = _tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=12,
        num_attention_heads=heads,
        projection_dim=projection or width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def _flux_vae() -> Any:
    """An autoencoder of FLUX's latents, 16 channels at an eighth of the side; nothing is decoded."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(16, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=16,
        norm_num_groups=16,
        shift_factor=0.1159,
    )


def _ready(pipe: Any) -> Any:
    pipe.to(torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _bytes(*modules: torch.nn.Module) -> int:
    """Of all weights in bf16."""
    return sum(2 * parameter.numel() for module in modules for parameter in module.parameters())


def call_of(pipe: Any) -> dict[str, Any]:
    """Arguments of `interpolate` for one denoising step at the size in proportion."""
    takes_t5 = "max_sequence_length" in inspect.signature(pipe.__call__).parameters
    pixels = FLUX_PIXELS if takes_t5 else SDXL_PIXELS
    return {"height": pixels, "width": pixels, "num_inference_steps": 1, "output_type": "latent"}


PIPELINES = {"sdxl": sdxl, "flux": flux}

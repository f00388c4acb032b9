"""What users add to a stock pipeline: LoRA, IP-Adapter, ControlNet, other schedulers, another precision."""

import copy
from typing import Any

import diffusers
import torch
from torch import Tensor, nn


def with_lora(pipe: Any, rank: int = 2) -> Any:
    """Add a LoRA with weights that matter to every attention projection of the denoiser."""
    from peft import LoraConfig

    denoiser = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    with torch.random.fork_rng():
        torch.manual_seed(11)
        targets = ["to_q", "to_k", "to_v", "to_out.0"]
        denoiser.add_adapter(
            LoraConfig(r=rank, lora_alpha=rank, init_lora_weights=False, target_modules=targets), adapter_name="style"
        )
    return pipe


def with_ip_adapter(pipe: diffusers.StableDiffusionPipeline, image_size: int = 24) -> Any:
    """Load a random IP-Adapter into an SD 1.x pipeline; image embeddings have `image_size` channels."""
    tokens = 4  # what diffusers assumes of an adapter with this projector
    generator = torch.Generator().manual_seed(12)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) / shape[-1] ** 0.5

    cross_size = pipe.unet.config.cross_attention_dim
    layers: dict[str, Tensor] = {}
    cross = [name for name in pipe.unet.attn_processors if name.endswith("attn2.processor")]
    for index, name in enumerate(cross):
        to_k = pipe.unet.get_submodule(name.removesuffix(".processor")).to_k
        for projection in ("to_k_ip", "to_v_ip"):
            layers[f"{2 * index + 1}.{projection}.weight"] = 2 * random(to_k.out_features, cross_size)
    projector = {
        "proj.weight": random(tokens * cross_size, image_size),
        "proj.bias": random(tokens * cross_size),
        "norm.weight": torch.ones(cross_size),
        "norm.bias": torch.zeros(cross_size),
    }
    pipe.unet._load_ip_adapter_weights([{"image_proj": projector, "ip_adapter": layers}])
    pipe.set_ip_adapter_scale(0.7)
    return pipe


def with_controlnet(pipe: diffusers.StableDiffusionPipeline) -> diffusers.StableDiffusionControlNetPipeline:
    """The same SD 1.x components in a ControlNet pipeline, whose residuals are not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(13)
        controlnet = diffusers.ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(8, 16))
        for module in controlnet.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.any():
                nn.init.normal_(module.weight, std=0.2)
    controlnet.eval().requires_grad_(False)
    made = diffusers.StableDiffusionControlNetPipeline(
        **pipe.components, controlnet=controlnet, requires_safety_checker=False
    )
    made.set_progress_bar_config(disable=True)
    return made


def with_lcm(pipe: Any) -> Any:
    """LCM-style: a stochastic few-step scheduler; `sd1(time_cond_proj_dim=8)` takes guidance as an embedding."""
    pipe.scheduler = diffusers.LCMScheduler.from_config(pipe.scheduler.config)
    return pipe


def with_heun(pipe: Any) -> Any:
    """A second-order scheduler: two denoiser calls a step."""
    pipe.scheduler = diffusers.HeunDiscreteScheduler.from_config(pipe.scheduler.config)
    return pipe


def double(pipe: Any) -> Any:
    """An independent float64 copy of a pipeline."""
    return copy.deepcopy(pipe).to(torch.float64)

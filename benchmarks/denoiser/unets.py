"""The denoisers that are timed, and what one step calls them with.

Stable Diffusion 1.5's and XL's UNets with random weights, since times do not depend on them and nothing is downloaded;
on a CPU the miniature's in their stead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aid_kernels import InterpolationPlan
from aid_pipeline import Frames
from aid_pipeline.miniature import MODEL_PATH

MINIATURE = "miniature"
POOLED = 1280  # channels of SDXL's pooled text embedding
TIMESTEP = 500
# by name, what differs from diffusers' defaults; unet/config.json of stable-diffusion-v1-5 and of
# stable-diffusion-xl-base-1.0
CONFIGS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text("utf-8")) for path in (Path(__file__).parent / "configs").glob("*.json")
}


@dataclass(frozen=True, eq=False)
class Batch:
    """Arguments of one UNet call; B rows.

    Args:
        sample: (B, C, h, w) noisy latents.
        timesteps: (1,), a view of it is the timestep, as a scheduler's table is in a pipeline.
        embeddings: (B, L, C) text embeddings.
        conditions: what SDXL is told beside, (B, ...) each.
    """

    sample: Tensor
    timesteps: Tensor
    embeddings: Tensor
    conditions: dict[str, Tensor]

    def select(self, rows: list[int]) -> Batch:
        """Some of the rows."""
        conditions = {name: value[rows] for name, value in self.conditions.items()}
        return replace(self, sample=self.sample[rows], embeddings=self.embeddings[rows], conditions=conditions)

    def run(self, unet: nn.Module) -> Tensor:
        """(B, C, h, w), the predicted noise."""
        return unet(
            self.sample,
            self.timesteps[0],
            encoder_hidden_states=self.embeddings,
            added_cond_kwargs=self.conditions or None,
        ).sample


@dataclass(frozen=True, eq=False)
class Step:
    """One denoising step with guidance of `users` sequences of `frames` frames: all rows, the unconditional ones first.

    Args:
        batch: 2 * users * frames rows.
        described: what its conditional rows are, for `aid_pipeline.aid`.
    """

    batch: Batch
    described: Frames
    frames: int
    users: int


def build(name: str, device: torch.device, dtype: torch.dtype, seed: int) -> nn.Module:
    """The UNet `name`, a key of CONFIGS or "miniature" (trained where its weights are shipped), in evaluation mode."""
    from diffusers import AutoModel

    torch.manual_seed(seed)
    if name != MINIATURE:
        with torch.device(device):
            unet = AutoModel.from_config(CONFIGS[name])
    elif miniature_weights() == "trained":
        from aid_pipeline.miniature import load

        unet = load().unet
    else:
        from aid_pipeline.miniature.components import new_unet

        unet = new_unet()
    return unet.to(device, dtype).eval().requires_grad_(False)


def miniature_weights() -> str:
    """ "trained" where the miniature's weights are shipped, else "random"."""
    return "trained" if (MODEL_PATH / "model_index.json").is_file() else "random"


def make_step(unet: Any, frames: int, seed: int, users: int = 1) -> Step:
    """Random inputs for a UNet, on its device and in its dtype; every frame has noise of its own, so no two are alike.

    Embeddings go evenly from one end to the other, within each user's frames.
    """
    config, weight = unet.config, next(unet.parameters())
    generator = torch.Generator().manual_seed(seed)
    rows, length = users * frames, 32 if config.cross_attention_dim < 768 else 77

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(weight.device, weight.dtype)

    t = torch.linspace(0, 1, frames)
    shares = t.to(weight.device, weight.dtype)[:, None, None]
    endpoints = [[draw(1, length, config.cross_attention_dim) for _ in range(2)] for _ in range(users)]
    positive = torch.cat([torch.lerp(first, last, shares) for first, last in endpoints])
    negative = draw(1, length, config.cross_attention_dim).expand_as(positive)
    noise = draw(rows, config.in_channels, config.sample_size, config.sample_size)
    conditions = {}
    if config.addition_embed_type == "text_time":
        size = config.sample_size * 8
        ids = torch.tensor([size, size, 0, 0, size, size], dtype=weight.dtype, device=weight.device)
        conditions = {"text_embeds": draw(2 * rows, POOLED), "time_ids": ids.expand(2 * rows, -1)}
    batch = Batch(
        sample=torch.cat([noise, noise]),
        timesteps=torch.tensor([TIMESTEP, TIMESTEP - 1], device=weight.device),
        embeddings=torch.cat([negative, positive]),
        conditions=conditions,
    )
    plan = InterpolationPlan.concat([InterpolationPlan.sequence(t)] * users).to(weight.device)
    return Step(batch, Frames(plan, positive, num_steps=1), frames, users)

"""How the public code denoises a sequence: the baseline that `interpolate` is compared with.

Written from the method's equations and a description of the schedule (arXiv 2403.17924, section 4), not from code:
frames one at a time in batches of three [first, frame, last], so that the endpoints are denoised again for every
frame; two denoiser calls a step, one without and one with the prompt; materialized softmax; all three
rows of the interpolated call attend twice, to [first, own] and to [last, own] keys.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor

from aid_pipeline import AIDConfig


class MaterializedProcessor:
    """softmax(Q K^T) V with the probabilities in memory; outer, fused with self-attention, while `coefficients` is set.

    Attributes:
        coefficients: (3, 1, 1, 1) t of the rows [first, frame, last], or None for plain attention.
    """

    coefficients: Tensor | None = None

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: None = None,
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            states.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for states in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        if self.coefficients is None:
            mixed = _attention(query, key, value)
        else:
            ends = [
                _attention(query, *(torch.cat([part[end].expand_as(part), part], dim=2) for part in (key, value)))
                for end in (slice(0, 1), slice(-1, None))
            ]
            mixed = (1 - self.coefficients) * ends[0] + self.coefficients * ends[1]
        return attn.to_out[1](attn.to_out[0](mixed.transpose(1, 2).flatten(2)))


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1) @ value


@torch.no_grad()
def encode(pipe: Any, prompts: tuple[str, str], negative: str, coefficients: tuple[float, ...]) -> dict[str, Tensor]:
    """(m, L, C) "prompt_embeds" and "negative_prompt_embeds" of all frames, between those of two prompts."""
    ends = [pipe.encode_prompt([prompt], pipe.device, 1, True, [negative]) for prompt in prompts]
    rows = [torch.cat([torch.lerp(first, last, t) for t in coefficients]) for first, last in zip(*ends, strict=True)]
    return dict(zip(("prompt_embeds", "negative_prompt_embeds"), rows, strict=True))


@torch.no_grad()
def denoise(
    pipe: Any,
    embeddings: dict[str, Tensor],
    latents: Tensor,
    coefficients: tuple[float, ...],
    config: AIDConfig,
    num_inference_steps: int,
    guidance_scale: float,
) -> Tensor:
    """Latents of all m frames, one frame after another.

    Args:
        pipe: a Stable Diffusion pipeline; its processors are put back.
        embeddings: (m, L, C) "prompt_embeds" and "negative_prompt_embeds".
        latents: (m, C, h, w) noise, scaled.
        config: mode "outer", fused.
    """
    assert config.mode == "outer"
    assert config.fuse_self
    before, processor = pipe.unet.attn_processors, MaterializedProcessor()
    pipe.unet.set_attn_processor(processor)
    last, active = len(coefficients) - 1, config.active_steps(num_inference_steps)
    frames: dict[int, Tensor] = {}
    try:
        for frame in range(1, last):
            rows = [0, frame, last]
            t = torch.tensor([0.0, coefficients[frame], 1.0]).view(3, 1, 1, 1)
            positive, negative = (embeddings[name][rows] for name in ("prompt_embeds", "negative_prompt_embeds"))
            sample, scheduler = latents[rows], copy.deepcopy(pipe.scheduler)
            scheduler.set_timesteps(num_inference_steps)
            for step, timestep in enumerate(scheduler.timesteps):
                given = scheduler.scale_model_input(sample, timestep)
                processor.coefficients = None
                without = pipe.unet(given, timestep, encoder_hidden_states=negative).sample
                processor.coefficients = t if step < active else None
                with_prompt = pipe.unet(given, timestep, encoder_hidden_states=positive).sample
                guided = without + guidance_scale * (with_prompt - without)
                sample = scheduler.step(guided, timestep, sample).prev_sample
            frames.update(zip(rows, sample, strict=True))
    finally:
        pipe.unet.set_attn_processor(dict(before))
    return torch.stack([frames[row] for row in range(last + 1)])

"""Frames of one denoising call: their endpoints, and the embeddings by which their rows are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aid_kernels import InterpolationPlan

from ..errors import ConfigError
from .endpoint_cache import EndpointCache

Embeddings = Tensor | Sequence[Tensor]


@dataclass(frozen=True, eq=False)
class Frames:
    """The m frames that a stock pipeline call with m rows of `prompt_embeds` and `latents` is about to denoise.

    Args:
        plan: m rows, one per frame: its sources among these m frames and their weights. Plain rows are the endpoints.
        prompt_embeds: (m, L, C) conditional embeddings, exactly as the denoiser will get them in
            `encoder_hidden_states` or another argument (what is passed as `prompt_embeds` to the stock call; for SD3
            and SDXL the joined one), before `num_images_per_prompt` repeats them; a list of (L, C) where lengths
            differ. The frames' rows are found by comparing values with these. Frames may share an embedding (equal
            prompts); they are told apart by their order. Or a function that returns them: it is called whenever they
            are needed, and nothing is kept in between.
        num_steps: denoising steps the call really runs (img2img skips the first ones: count what is left). A scheduler
            that evaluates a step twice (Heun) still counts it once.
        num_images_per_prompt: n as passed to the stock call; row i * n + k of the batch is image k of frame i, and each
            image k is a sequence of its own.
        chunk: rows per run of the denoiser at most; None runs the batch as it comes, "auto" takes what fits the free
            GPU memory (measured on one row in the first step) or `memory.CPU_ROWS`. Any value gives the same frames.
        has_guide: interior frames have a guide's embeddings (PAID), not the lerp of the endpoints'. Without a guide
            mode "inner" leaves those cross-attention layers plain where that is exactly the same thing.
        image_embeds: IP-Adapter embeddings per adapter, each (m, N, C) or (m, N, L, C), one row per frame. They are
            handed to the denoiser in place of whatever the stock call has there, which needs no image of its own then.
        negative_image_embeds: likewise what all other rows get, each (1, ...) of the same shape; default: zeros.
        endpoints: a cache to share between calls for other frames between the same endpoints: the first call fills it,
            later ones do not run their first and last frame again.

    Raises:
        ConfigError: lengths that differ, no frame to interpolate from, counts below 1, non-finite embeddings.
    """

    plan: InterpolationPlan
    prompt_embeds: Embeddings | Callable[[], Embeddings]
    num_steps: int
    num_images_per_prompt: int = 1
    chunk: int | str | None = None
    has_guide: bool = False
    image_embeds: list[Tensor] | None = None
    negative_image_embeds: list[Tensor] | None = None
    endpoints: EndpointCache | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.plan, InterpolationPlan):
            raise ConfigError(f"plan must be an InterpolationPlan, got {type(self.plan).__name__}")
        num_frames = len(self.plan)
        embeds = self.embeddings()
        tensors = isinstance(embeds, list | tuple) and all(isinstance(row, Tensor) for row in embeds)
        if not (isinstance(embeds, Tensor) or tensors) or any(row.ndim < 1 for row in embeds):
            shape = getattr(embeds, "shape", type(embeds).__name__)
            raise ConfigError(
                f"prompt_embeds must be a tensor (frames, tokens, channels), or one of each frame, got {shape}"
            )
        if len(embeds) != num_frames:
            raise ConfigError(f"the plan has {num_frames} frames but prompt_embeds {len(embeds)} rows")
        if self.plan.bank_size > num_frames:
            raise ConfigError(
                f"the plan reads frame {self.plan.bank_size - 1} of {num_frames}; endpoints must be frames themselves"
            )
        mixing = self.plan.host_weights != 0
        if mixing.any() and mixing[self.plan.host_sources[mixing].long()].any():
            raise ConfigError("the plan mixes frames that are mixtures themselves; endpoints must be plain rows")
        if not all(torch.isfinite(rows).all() for rows in ([embeds] if isinstance(embeds, Tensor) else embeds)):
            raise ConfigError("prompt_embeds hold NaN or infinity")
        for name in ("num_steps", "num_images_per_prompt"):
            _check_count(name, getattr(self, name))
        if self.chunk not in (None, "auto"):
            _check_count("chunk", self.chunk)
        for index, embeds in enumerate(self.image_embeds or []):
            if embeds.ndim not in (3, 4) or embeds.shape[0] != num_frames:
                raise ConfigError(
                    f"image_embeds[{index}] must be ({num_frames}, images, channels) or ({num_frames}, images, tokens, "
                    f"channels), got {tuple(embeds.shape)}"
                )
        if self.negative_image_embeds is not None:
            given = [tuple(embeds.shape) for embeds in self.negative_image_embeds]
            wanted = [(1, *embeds.shape[1:]) for embeds in self.image_embeds or []]
            if given != wanted:
                raise ConfigError(
                    f"negative_image_embeds must have shapes {wanted}, one per entry of image_embeds, got {given}"
                )

    def embeddings(self) -> Embeddings:
        """`prompt_embeds`, computed where they are a function."""
        return self.prompt_embeds() if callable(self.prompt_embeds) else self.prompt_embeds


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number >= 1, got {value!r}")

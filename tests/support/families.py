"""Tiny, seeded, random stock pipelines of every supported family, built without a network.

Denoising seven frames for a few steps takes a fraction of a second on one core. `stock_pipelines` builds what is in
them, `variations` adds to them.

    family = FAMILIES["sdxl"]
    pipe = family.pipeline()                      # shared, leave it as you found it
    pipe = family.fresh()                         # your own, weights equal
    call = family.call(pipe, frames=5)            # keyword arguments of the stock call: one row per frame
    pipe(**call, output_type="latent").images
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from .stock_pipelines import PIXELS, T5_TOKENS, flux, pixart_sigma, sd1, sd2, sd3, sdxl

PROMPTS = ("a red sphere", "the blue cube on sand")
NEGATIVE = "dull"
GUIDE = "a jade cone"


@dataclass(frozen=True)
class StockFamily:
    """One kind of stock pipeline and how a batch of its frames is asked for.

    `negative_rows` says where the rows of the negative prompt are: in front of the conditional ones in the same call of
    the denoiser ("front"), in a call of their own after the conditional one ("separate"), or nowhere ("none").
    `guidance` are the stock arguments that turn classifier-free guidance on.
    """

    name: str
    make: Callable[[], Any]
    negative_rows: str = "front"
    guidance: dict[str, Any] = field(default_factory=lambda: {"guidance_scale": 2.5})
    no_guidance: dict[str, Any] = field(default_factory=lambda: {"guidance_scale": 1.0})
    extra: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def fresh(self) -> Any:
        """A new pipeline with the same weights every time."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            pipe = self.make()
        for component in pipe.components.values():
            if isinstance(component, nn.Module):
                component.eval().requires_grad_(False)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def pipeline(self) -> Any:
        """The same pipeline for the whole session; a test that changes it takes `fresh()`."""
        return _shared_pipeline(self.name)

    def call(
        self,
        pipe: Any,
        frames: int | Sequence[float] = 5,
        *,
        guide: str | None = None,
        cfg: bool = True,
        steps: int = 3,
        seed: int = 0,
        prompts: tuple[str, str] = PROMPTS,
    ) -> dict[str, Any]:
        """Keyword arguments of the stock call for one sequence: row i of each tensor is frame i.

        `frames` is a number of uniform frames or the coefficients. Prompt embeddings, pooled ones and negative ones
        are lerped, latents slerped; with `guide`, interior frames have that prompt's embeddings (PAID).
        """
        coefficients = torch.linspace(0, 1, frames).tolist() if isinstance(frames, int) else list(frames)
        first, last = (embed(pipe, prompt, NEGATIVE if cfg else None) for prompt in prompts)
        middle = embed(pipe, guide, NEGATIVE if cfg else None) if guide is not None else None
        rows = [_blend(first, last, middle, t) for t in coefficients]
        noise = torch.randn(2, *latent_shape(pipe), generator=torch.Generator().manual_seed(seed))
        call: dict[str, Any] = {name: torch.cat([row[name] for row in rows]) for name in first}
        call["latents"] = torch.stack([slerp(noise[0], noise[1], t) for t in coefficients])
        call |= {"height": PIXELS, "width": PIXELS, "num_inference_steps": steps}
        return call | (self.guidance if cfg else self.no_guidance) | self.extra

    def denoiser(self, pipe: Any) -> nn.Module:
        return pipe.unet if hasattr(pipe, "unet") else pipe.transformer


@functools.cache
def _shared_pipeline(name: str) -> Any:
    return FAMILIES[name].fresh()


def _blend(first: dict[str, Tensor], last: dict[str, Tensor], guide: dict[str, Tensor] | None, t: float) -> dict:
    """Row of one frame. A token that either end can see is seen in between; each end keeps its own mask."""
    if t in (0.0, 1.0):
        return last if t else first
    row = {}
    for name in first:
        if name.endswith("attention_mask"):
            row[name] = torch.maximum(first[name], last[name])
        else:
            row[name] = torch.lerp(first[name], last[name], t)
    if guide is not None:
        row |= {name: value for name, value in guide.items() if not name.startswith("negative_")}
    return row


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical interpolation of two whole tensors, in float64."""
    x, y = a.double().flatten(), b.double().flatten()
    angle = torch.arccos(torch.dot(x, y) / (x.norm() * y.norm()))
    mixed = (torch.sin((1 - t) * angle) * x + torch.sin(t * angle) * y) / torch.sin(angle)
    return mixed.reshape(a.shape).to(a.dtype)


def latent_shape(pipe: Any) -> tuple[int, ...]:
    """One frame's latents as the stock call takes them: FLUX wants 2x2 patches as channels of a token."""
    return (16, 16) if isinstance(pipe, diffusers.FluxPipeline) else (4, 8, 8)


@torch.no_grad()
def embed(pipe: Any, prompt: str, negative: str | None) -> dict[str, Tensor]:
    """One prompt's embeddings under the names of the stock call's arguments, without a negative prompt when None."""
    guided = negative is not None
    if isinstance(pipe, diffusers.FluxPipeline):
        found = {}
        for prefix, text in [("", prompt), ("negative_", negative)]:
            if text is not None:
                tokens, pooled, _ = pipe.encode_prompt(prompt=text, prompt_2=None, max_sequence_length=T5_TOKENS)
                found |= {f"{prefix}prompt_embeds": tokens, f"{prefix}pooled_prompt_embeds": pooled}
        return found
    if isinstance(pipe, diffusers.StableDiffusion3Pipeline):
        values = pipe.encode_prompt(
            prompt=prompt,
            prompt_2=None,
            prompt_3=None,
            negative_prompt=negative,
            do_classifier_free_guidance=guided,
            max_sequence_length=T5_TOKENS,
        )
        names = POOLED
    elif isinstance(pipe, diffusers.PixArtSigmaPipeline):
        values = pipe.encode_prompt(
            prompt, guided, negative_prompt=negative or "", clean_caption=False, max_sequence_length=T5_TOKENS
        )
        names = ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask")
    elif hasattr(pipe, "text_encoder_2"):
        values = pipe.encode_prompt(prompt=prompt, do_classifier_free_guidance=guided, negative_prompt=negative)
        names = POOLED
    else:
        values = pipe.encode_prompt(prompt, "cpu", 1, guided, negative_prompt=negative)
        names = ("prompt_embeds", "negative_prompt_embeds")
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


POOLED = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")

FAMILIES = {
    family.name: family
    for family in (
        StockFamily("sd1", sd1),
        StockFamily("sd2", sd2),
        StockFamily("sdxl", sdxl),
        StockFamily("sd3", sd3),
        StockFamily("sd3_no_t5", functools.partial(sd3, t5=False)),
        StockFamily(
            "flux",
            flux,
            negative_rows="none",
            guidance={"guidance_scale": 3.5},
            no_guidance={"guidance_scale": 3.5},
        ),
        StockFamily(
            "flux_true_cfg",
            functools.partial(flux, guidance_embeds=False),
            negative_rows="separate",
            guidance={"true_cfg_scale": 2.5},
            no_guidance={"true_cfg_scale": 1.0},
        ),
        StockFamily(
            "pixart_sigma",
            pixart_sigma,
            extra={"use_resolution_binning": False, "clean_caption": False, "negative_prompt": None},
        ),
    )
}

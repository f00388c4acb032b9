"""The stock call with and without attention interpolation, and how far two sets of frames are apart."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aid_kernels import InterpolationPlan
from aid_pipeline.attention.apply import aid
from aid_pipeline.attention.frames import Frames
from aid_pipeline.config import AIDConfig

UNEVEN = (0.0, 0.3, 0.75, 1.0)  # so that neither the order nor the direction of frames can be mixed up unseen
TOLERANCE = 1e-5  # of an fp32 pipeline to the float64 oracle, in units of the latents' standard deviation


def _again(call: dict[str, Any]) -> dict[str, Any]:
    """The same call once more: generators start over."""
    call = dict(call)
    if isinstance(call.get("generator"), list):
        call["generator"] = [torch.Generator().manual_seed(g.initial_seed()) for g in call["generator"]]
    return call


@torch.no_grad()
def stock(pipe: Any, call: dict[str, Any]) -> Tensor:
    """Final latents of the stock call."""
    return pipe(**_again(call), output_type="latent").images


def describe(call: dict[str, Any], coefficients: Sequence[float], **fields: Any) -> Frames:
    """`Frames` of a call made by `StockFamily.call`; `fields` are those of `Frames`."""
    defaults = {
        "plan": fields.get("plan") or InterpolationPlan.sequence(coefficients),
        "prompt_embeds": call["prompt_embeds"],
        "num_steps": call["num_inference_steps"],
        "num_images_per_prompt": call.get("num_images_per_prompt", 1),
    }
    return Frames(**defaults | fields)


@torch.no_grad()
def interpolated(
    pipe: Any, call: dict[str, Any], coefficients: Sequence[float], config: AIDConfig, **fields: Any
) -> Tensor:
    """Final latents of the stock call under `aid(...)`."""
    with aid(pipe, config, describe(call, coefficients, **fields)):
        return stock(pipe, call)


def distance(actual: Tensor, expected: Tensor) -> float:
    """Largest difference, in standard deviations of `expected`."""
    assert actual.shape == expected.shape, f"{tuple(actual.shape)} and {tuple(expected.shape)}"
    assert actual.isfinite().all()
    return ((actual.double() - expected.double()).abs().max() / expected.double().std()).item()


def processors(denoiser: nn.Module) -> dict[str, Any]:
    """The installed attention processors, by the name of their layer."""
    return {name: module.processor for name, module in denoiser.named_modules() if hasattr(module, "processor")}

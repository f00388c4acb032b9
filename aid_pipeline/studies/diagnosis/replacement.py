"""Replacement of one image's self- or cross-attention keys and values by another's, in every layer and every step.

A replacement is a plan: a row without keys of its own (`fuse_self=False`) and weight 1 on the other row, which is outer
interpolation at t = 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from aid_kernels import InterpolationPlan

from ...attention.layers import attention_layers
from ...attention.processors import InterpolatedAttnProcessor
from ...conditioning.replay import Replay
from ...config import AIDConfig
from ...errors import MetricsError, RowsError, UnsupportedPipelineError
from ...families import check_images, find_denoiser, has_separate_cross_attention
from ...interpolation import exclusive, prepare
from ...precision import latents_dtype
from ...sampling.stock_call import private_copy
from ...spec import InterpolationSpec

ROWS = ("a", "b", "a, self from b", "a, cross from b")
"""Rows of the batch: both images, and the first with one kind of attention reading the second."""


def replacement_plans() -> dict[str, InterpolationPlan]:
    """For the rows `ROWS`, what self-attention and what cross-attention layers follow."""
    plans = {}
    for kind in ("self", "cross"):
        weights = torch.zeros(len(ROWS), 1)
        weights[ROWS.index(f"a, {kind} from b")] = 1
        plans[kind] = InterpolationPlan(torch.full((len(ROWS), 1), ROWS.index("b"), dtype=torch.int32), weights)
    return plans


@torch.no_grad()
def replaced_images(pipe: Any, spec: InterpolationSpec) -> Tensor:
    """The four images of `ROWS`: (4, 3, height, width) float32 in [0, 1] on the CPU.

    Args:
        pipe: a Stable Diffusion 1.x, 2.x or XL pipeline with stock attention processors.
        spec: the prompts of a and b, the arguments of their stock call, and the operator's implementation. Its seeds
            are of the noise of a and of b. With equal ones "a, cross from b" is b itself, since keys and values of
            text do not depend on the image.

    Raises:
        UnsupportedPipelineError: another family, or processors that are not stock.
        PromptError: an empty or too long prompt.
        RowsError: the pipeline orders its rows in a way that is not known here.
        MetricsError: an image that is not finite or that the safety checker blacked out.
        AIDError: as `interpolate`, of what else depends on the pipeline.
    """
    denoiser = find_denoiser(pipe)
    if not has_separate_cross_attention(denoiser):
        raise UnsupportedPipelineError(
            f"the study replaces self- and cross-attention apart, which {type(denoiser).__name__} does not have; use a "
            "Stable Diffusion 1.x, 2.x or XL model"
        )
    check_images(pipe, "a diagnosis")
    denoising = prepare(pipe, spec)
    # every row but b's has a's text: cross-attention "from b" reads b's keys through the plan
    rows = [1 if name == "b" else 0 for name in ROWS]
    config = replace(spec.config, mode="outer", fuse_self=False)
    own, seeds = private_copy(pipe), [denoising.seeds[row] for row in rows]
    replay = Replay(denoising.prompts, [float(row) for row in rows], denoising.call)
    replay.install(own)
    with exclusive(denoiser), _replacing(denoiser, replay, config):
        output = own(
            **{**denoising.call, **replay.arguments()},
            latents=_noise(own, denoiser, seeds, spec.height, spec.width),
            generator=[torch.Generator("cpu").manual_seed(denoising.seeds[0]) for _ in rows],
            output_type="pt",
        )
    images: Tensor = output.images.detach().float().cpu()
    black = [ROWS[i] for i, flag in enumerate(getattr(output, "nsfw_content_detected", None) or []) if flag]
    if black or not torch.isfinite(images).all():
        raise MetricsError(f"image(s) {', '.join(black)} blacked out" if black else "images hold NaN or infinity")
    return images


@contextmanager
def _replacing(denoiser: nn.Module, replay: Replay, config: AIDConfig) -> Iterator[None]:
    """Processors that follow the plans, for the length of a call whose last rows are the conditional ones."""
    modules = attention_layers(denoiser)
    for name, module in modules.items():
        if type(module.processor).__name__ not in ("AttnProcessor2_0", "AttnProcessor"):
            raise UnsupportedPipelineError(
                f"layer {name} has a {type(module.processor).__name__}; the study needs the default processors"
            )
    originals = {name: module.processor for name, module in modules.items()}
    processors = {name: InterpolatedAttnProcessor(None, config) for name in modules}
    plans = replacement_plans()

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given, embeds = kwargs.get("encoder_hidden_states"), replay.embeddings()
        assert isinstance(embeds, Tensor)
        count = len(embeds)
        if given is None or len(given) < count or not torch.equal(given[-count:], embeds.to(given)):
            raise RowsError("the conditional rows are not the last ones of the denoiser's batch; use a stock pipeline")
        plain = InterpolationPlan.plain(len(given) - count)
        for name, processor in processors.items():
            kind = "cross" if modules[name].is_cross_attention else "self"
            processor.plan = InterpolationPlan.concat([plain, plans[kind]]).to(given.device)

    hook = denoiser.register_forward_pre_hook(before, with_kwargs=True)
    try:
        for name, module in modules.items():
            module.set_processor(processors[name])
        yield
    finally:
        hook.remove()
        for name, module in modules.items():
            module.set_processor(originals[name])


def _noise(pipe: Any, denoiser: Any, seeds: Sequence[int], height: int | None, width: int | None) -> Tensor:
    """Unscaled noise (rows, C, h, w), drawn on the CPU, of images of this size in pixels; None means the model's."""
    size = denoiser.config.sample_size
    own = (size, size) if isinstance(size, int) else tuple(size)
    sides = [
        side if pixels is None else pixels // pipe.vae_scale_factor
        for side, pixels in zip(own, (height, width), strict=True)
    ]
    shape = (denoiser.config.in_channels, *sides)
    drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(drawn).to(pipe.device, latents_dtype(denoiser))

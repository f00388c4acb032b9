"""Methods of the paper, its baselines and its ablation, by name, sampled from equal prompts and noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...coefficients import BetaPrior, frame_coefficients
from ...config import AIDConfig
from ...errors import ArgumentError, MetricsError
from ...metrics.images import cross_fade
from ...spec import DEFAULT_GUIDANCE, DEFAULT_STEPS

CROSS_FADE = "cross-fade"
MAIN = ("tei", "di", "aid-o", "aid-i", CROSS_FADE)
"""Rows of the paper's Table 1, and what none of them may be compared without."""
ABLATION = ("tei+beta", "aid-o-unfused", "aid-o-uniform", "aid-i-unfused", "aid-i-uniform")
"""Attention interpolation, fusion and the Beta prior, on and off, as far as `MAIN` does not hold it already."""


@dataclass(frozen=True)
class Method:
    """One way from prompt to prompt.

    Attributes:
        title: in tables.
        config: None for the pixel cross-fade between the ends.
        prior: where its frames lie; None for evenly spaced.
    """

    title: str
    config: AIDConfig | None
    prior: BetaPrior | None = None

    def describe(self) -> str:
        """What is on: attention, fusion, Beta."""
        if self.config is None:
            return "pixels"
        plain = {"none": "plain attention", "denoising": "prompt switch"}
        parts = [plain.get(self.config.mode, self.config.mode)]
        if self.config.mode not in plain and self.config.fuse_self:
            parts.append("fused")
        if self.prior is not None:
            parts.append(f"Beta({self.prior.alpha:g}, {self.prior.beta:g})")
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class MethodFrames:
    """The frames of one method: (m, 3, height, width) float32 in [0, 1] on the CPU, in steps of 1/255 as files hold."""

    images: Tensor
    coefficients: tuple[float, ...]


def all_methods(prior: BetaPrior, warmup: float = 0.5, impl: str = "auto") -> dict[str, Method]:
    """Every method by name. The paper's AID has all three parts: interpolated attention, fusion and the Beta prior.

    Args:
        prior: of the methods that have one.
        warmup, impl: as `AIDConfig`.
    """

    def config(mode: str, fuse_self: bool = True) -> AIDConfig:
        return AIDConfig(mode=mode, fuse_self=fuse_self, warmup=warmup, impl=impl)

    return {
        "tei": Method("TEI", config("none")),
        "di": Method("DI", config("denoising")),
        "aid-o": Method("AID-O", config("outer"), prior),
        "aid-i": Method("AID-I", config("inner"), prior),
        CROSS_FADE: Method("pixel cross-fade", None),
        "tei+beta": Method("TEI + Beta", config("none"), prior),
        "aid-o-unfused": Method("AID-O, attention only", config("outer", False)),
        "aid-o-uniform": Method("AID-O, no Beta", config("outer")),
        "aid-i-unfused": Method("AID-I, attention only", config("inner", False)),
        "aid-i-uniform": Method("AID-I, no Beta", config("inner")),
    }


def pick(names: list[str] | tuple[str, ...], methods: Mapping[str, Method]) -> dict[str, Method]:
    """Some of the methods, in the order asked for.

    Raises:
        ArgumentError: an unknown name, or none.
    """
    unknown = [name for name in names if name not in methods]
    if unknown or not names:
        raise ArgumentError(f"methods must be some of {', '.join(methods)}; got {', '.join(unknown) or 'none'}")
    return {name: methods[name] for name in names}


def runs(methods: Mapping[str, Method], frames: int) -> dict[AIDConfig, tuple[tuple[float, ...], tuple[str, ...]]]:
    """Which calls make these methods: by configuration, the coefficients of all its frames, and the methods served.

    A frame depends on its own coefficient and the ends alone, so methods that differ only in spacing share one call
    and every coefficient they have in common. The ends are those of the first call, which must leave keys and values
    for all others: outer comes before inner, which may leave cross-attention plain, and both before plain attention.
    """
    grouped: dict[AIDConfig, list[str]] = {}
    for name, method in methods.items():
        if method.config is not None:
            grouped.setdefault(method.config, []).append(name)
    if not grouped:
        raise ArgumentError("a cross-fade alone has no ends; add a method that makes them, such as tei")
    order = ("outer", "inner", "none", "denoising")
    return {
        config: (
            tuple(sorted({t for name in grouped[config] for t in frame_coefficients(methods[name].prior, frames)})),
            tuple(grouped[config]),
        )
        for config in sorted(grouped, key=lambda config: order.index(config.mode))
    }


def rows(methods: Mapping[str, Method], frames: int) -> int:
    """Frames denoised to make these methods once: both ends, and those between of every call."""
    return 2 + sum(len(coefficients) - 2 for coefficients, _ in runs(methods, frames).values())


def sample_methods(
    pipe: Any,
    prompt_a: str,
    prompt_b: str,
    methods: Mapping[str, Method],
    frames: int = 7,
    seed: int | tuple[int, int] = 0,
    num_inference_steps: int = DEFAULT_STEPS,
    guidance_scale: float = DEFAULT_GUIDANCE,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[str, MethodFrames]]:
    """Every method's frames, in the order they are ready, from equal prompts and noise; the ends are denoised once.

    Args:
        methods: by name, with one share of interpolated steps; a cross-fade is made of the ends of the first call.
        seed, num_inference_steps, guidance_scale: as `interpolate`.
        progress: called with (frames times steps done, in all).

    Raises:
        MetricsError: frames that are not finite or that the model's safety checker blacked out.
        AIDError: as `interpolate`.
    """
    from ...attention.endpoint_cache import EndpointCache
    from ...conditioning.encoding import check_guidance, encode_prompts
    from ...conditioning.latents import check_seed
    from ...conditioning.prompts import check_prompts
    from ...families import find_family
    from ...sampling.denoising import Denoising
    from ...sampling.stock_call import private_copy

    prompts, family = check_prompts(prompt_a, prompt_b, None, None, frames), find_family(pipe)
    call = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
    do_classifier_free_guidance = check_guidance(pipe, family, call, False)
    encoded = encode_prompts(private_copy(pipe), family, prompts, do_classifier_free_guidance, {})
    memory, total, done = EndpointCache(), rows(methods, frames), 0
    ends: Tensor | None = None
    for config, (coefficients, names) in runs(methods, frames).items():
        count = len(coefficients) - (2 if memory.filled else 0)

        def step(steps_done: int, steps: int, done: int = done, count: int = count) -> None:
            if progress is not None:
                progress(done * steps + count * steps_done, total * steps)

        denoising = Denoising(
            pipe=pipe,
            config=config,
            encoded=encoded,
            has_guide=False,
            seeds=check_seed(seed),
            latents=None,
            chunk="auto",
            call=call,
            output_type="pt",
        )
        made = denoising.sample(coefficients, step, memory)
        if made.not_finite or made.flagged:
            wrong = "not finite" if made.not_finite else "blacked out by the safety checker"
            raise MetricsError(f"{names[0]} of {prompt_a!r} and {prompt_b!r}: frames are {wrong}")
        images = (made.images.detach().float().cpu() * 255).round() / 255
        done += count
        if ends is None:
            ends = torch.stack([images[0], images[-1]])
        for name in names:
            wanted = frame_coefficients(methods[name].prior, frames)
            yield name, MethodFrames(images[[coefficients.index(t) for t in wanted]], wanted)
    assert ends is not None
    for name, method in methods.items():
        if method.config is None:
            faded = cross_fade(torch.cat([ends[:1].expand(frames - 1, -1, -1, -1), ends[1:]]))
            yield name, MethodFrames((faded * 255).round() / 255, frame_coefficients(None, frames))

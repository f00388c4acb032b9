"""Methods of the paper, its baselines and its ablation, by name, sampled from equal prompts and noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...attention.endpoint_cache import EndpointCache
from ...coefficients import BetaPrior, frame_coefficients
from ...config import AIDConfig
from ...errors import ArgumentError, MetricsError
from ...families import check_images, find_denoiser
from ...interpolation import exclusive, prepare
from ...metrics.images import cross_fade
from ...spec import InterpolationSpec

CROSS_FADE = "cross-fade"
MAIN = ("tei", "di", "aid-o", "aid-i", CROSS_FADE)
"""Rows of the paper's Table 1, and what none of them may be compared without."""
ABLATION = ("tei+beta", "aid-o-unfused", "aid-o-uniform", "aid-i-unfused", "aid-i-uniform")
"""Attention interpolation, fusion and the Beta prior, on and off, as far as `MAIN` does not hold it already."""
UNSHARED = ("guide", "latents", "coefficients", "select")
"""Arguments of a sequence that methods side by side do not share: each method has its own spacing."""


@dataclass(frozen=True)
class Method:
    """One way from prompt to prompt.

    Attributes:
        title: in tables.
        config: None for the pixel cross-fade between the endpoints.
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


def all_methods(prior: BetaPrior, warmup: float = AIDConfig.warmup, impl: str = AIDConfig.impl) -> dict[str, Method]:
    """Every method by name. The paper's AID has all three parts: interpolated attention, fusion and the Beta prior.

    Args:
        prior: of the methods that have one.
        warmup, impl: as `AIDConfig`.
    """

    def config(mode: str, fused: bool = True) -> AIDConfig:
        return AIDConfig(mode=mode, fuse_self=fused, warmup=warmup, impl=impl)

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
    """Which calls sample these methods: by configuration, the coefficients of all its frames, and the methods served.

    A frame depends on its own coefficient and the endpoints alone, so methods that differ only in spacing share one
    call and every coefficient they have in common. The endpoints are those of the first call, which must leave keys and
    values for all others: outer comes before inner, which may leave cross-attention plain, and both before plain
    attention.
    """
    grouped: dict[AIDConfig, list[str]] = {}
    for name, method in methods.items():
        if method.config is not None:
            grouped.setdefault(method.config, []).append(name)
    if not grouped:
        raise ArgumentError("a cross-fade alone has no endpoints; add a method that samples them, such as tei")
    order = ("outer", "inner", "none", "denoising")
    return {
        config: (
            tuple(sorted({t for name in grouped[config] for t in frame_coefficients(methods[name].prior, frames)})),
            tuple(grouped[config]),
        )
        for config in sorted(grouped, key=lambda config: order.index(config.mode))
    }


def rows(methods: Mapping[str, Method], frames: int) -> int:
    """Frames denoised to sample these methods once: both endpoints, and the interior frames of every call."""
    return 2 + sum(len(coefficients) - 2 for coefficients, _ in runs(methods, frames).values())


def check_shared(spec: InterpolationSpec) -> None:
    """Check that these arguments are those of every method.

    Raises:
        ArgumentError: one of `UNSHARED`; fewer than 3 frames.
    """
    for name in UNSHARED:
        if getattr(spec, name) is not None:
            raise ArgumentError(f"methods are compared without {name}, got {getattr(spec, name)!r}; leave it out")
    if spec.frames < 3:
        raise ArgumentError(f"frames must be at least 3 to compare interior frames, got {spec.frames}")


def shared_arguments(spec: InterpolationSpec) -> dict[str, Any]:
    """The arguments of every method, as JSON holds them."""
    arguments: dict[str, Any] = spec.to_json()["arguments"]
    decided = (*UNSHARED, "seed", "output_type")
    shared = {name: value for name, value in arguments.items() if name not in decided}
    return {**shared, "warmup": spec.config.warmup, "impl": spec.config.impl}


def sample_methods(
    pipe: Any,
    spec: InterpolationSpec,
    methods: Mapping[str, Method],
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[str, MethodFrames]]:
    """Every method's frames, in the order they are ready, from equal prompts and noise; endpoints are denoised once.

    Args:
        spec: of every method but for `config` and `coefficients`, which are a method's own.
        methods: by name, with one share of interpolated steps; a cross-fade is of the endpoints of the first call.
        progress: called with (frames times steps done, in all).

    Raises:
        MetricsError: frames that are not finite or that the model's safety checker blacked out.
        AIDError: as `check_shared` and `interpolate`.
    """
    check_shared(spec)
    check_images(pipe, "a comparison of methods")
    denoiser, common = find_denoiser(pipe), prepare(pipe, replace(spec, output_type="pt"))
    cache, total, done = EndpointCache(), rows(methods, spec.frames), 0
    endpoints: Tensor | None = None
    for config, (coefficients, names) in runs(methods, spec.frames).items():
        count = len(coefficients) - (2 if cache.filled else 0)

        def step(steps_done: int, steps: int, done: int = done, count: int = count) -> None:
            if progress is not None:
                progress(done * steps + count * steps_done, total * steps)

        with exclusive(denoiser):
            sampled = replace(common, config=config).sample(coefficients, step, cache)
        if sampled.not_finite or sampled.flagged:
            wrong = "not finite" if sampled.not_finite else "blacked out by the safety checker"
            prompts = " and ".join(repr(keyframe.prompt) for keyframe in spec.keyframes)
            raise MetricsError(f"{names[0]} of {prompts}: frames are {wrong}")
        images = (sampled.images.detach().float().cpu() * 255).round() / 255
        done += count
        if endpoints is None:
            endpoints = torch.stack([images[0], images[-1]])
        for name in names:
            wanted = frame_coefficients(methods[name].prior, spec.frames)
            yield name, MethodFrames(images[[coefficients.index(t) for t in wanted]], wanted)
    assert endpoints is not None
    for name, method in methods.items():
        if method.config is None:
            faded = cross_fade(torch.cat([endpoints[:1].expand(spec.frames - 1, -1, -1, -1), endpoints[1:]]))
            yield name, MethodFrames((faded * 255).round() / 255, frame_coefficients(None, spec.frames))

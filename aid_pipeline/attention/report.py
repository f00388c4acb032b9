"""Report of which implementation serves each attention layer, as `AIDHandle.report()` returns it."""

from __future__ import annotations

from collections import Counter

import torch
from torch import nn

from aid_kernels import Explanation, InterpolationPlan, explain

from ..config import AIDConfig
from ..errors import ConfigError
from .kv_bank import LayerCache
from .operator_call import padded_head_dim

PROBE_LENGTH = 1024


def expected_service(denoiser: nn.Module, config: AIDConfig, head_dim: int | None) -> Explanation:
    """Which implementation would serve a layer of this denoiser, judged by dtype, device and head size alone.

    Raises:
        ConfigError: a named implementation, by `impl` or in the environment, that is none or cannot serve it.
    """
    device = next(denoiser.parameters()).device
    dtype = getattr(denoiser, "dtype", None) or next(denoiser.parameters()).dtype  # not that of weights at rest
    probe = torch.empty(2, 1, PROBE_LENGTH, padded_head_dim(head_dim or 64), dtype=dtype, device=device)
    plan = InterpolationPlan.sequence([0.0, 1.0]).to(device)
    try:
        return explain(probe, probe, probe, plan, config.fuse_self, mode=config.mode, impl=config.impl)
    except (ValueError, TypeError) as error:
        raise ConfigError(" ".join(str(error).split())) from error


def format_report(layers: list[tuple[LayerCache, Explanation | None, str | None]]) -> str:
    """Summary line, one line per reason, one line per layer.

    Args:
        layers: each with what is expected of it, if no call was seen, and why it stays plain if it does.
    """
    lines, counts, reasons = [], Counter[str](), Counter[tuple[str, str]]()
    for layer, expected, plain in layers:
        if plain is not None:
            names, why = ["plain"], plain
        elif layer.served:
            names, why = sorted({seen.implementation for seen in layer.served}), layer.served[0].reason
        elif expected is not None:
            names, why = [expected.implementation], f"{expected.reason} (expected; no call was seen)"
        else:
            names, why = ["not known"], "no call was seen, and its weights are elsewhere between calls"
        name = "+".join(names)
        counts[name] += 1
        reasons[name, why] += 1
        lines.append(f"  {layer.name}: {name}")
    summary = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    why_lines = [f"  {name} {count}: {why}" for (name, why), count in reasons.most_common()]
    return "\n".join([f"{len(layers)} layers: {summary}", *why_lines, "layers:", *lines])

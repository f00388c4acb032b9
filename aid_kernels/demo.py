"""Demonstration, `python -m aid_kernels.demo`: error and time of every implementation that runs here."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from . import InterpolationPlan, explain, inner_attention, outer_attention

FRAMES = 7
OPS = {"outer": outer_attention, "inner": inner_attention}
# heads, length, head_dim, dtype: what each device does in well under a minute
SHAPES = {"cpu": (4, 256, 64, torch.float32), "cuda": (10, 4096, 64, torch.bfloat16)}


def main() -> None:
    for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
        for mode in OPS:
            print(table(mode, device))


def table(mode: str, device: str) -> str:
    """One mode on one device: largest error against float64 over the largest value, and median time in ms."""
    heads, length, head_dim, dtype = SHAPES[device]
    torch.manual_seed(0)
    # cut from (m, S, H, D), as diffusers does
    shape = (FRAMES, length, heads, head_dim)
    query, key, value = (torch.randn(shape, device=device).to(dtype).transpose(1, 2) for _ in range(3))
    plan = InterpolationPlan.sequence(torch.linspace(0, 1, FRAMES), device=device)
    op = OPS[mode]
    exact = op(query.double(), key.double(), value.double(), plan, impl="reference")
    explanation = explain(query, key, value, plan, mode=mode)
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    lines = [
        f"{mode} attention, {FRAMES} frames, {heads} heads, {length} positions, head_dim {head_dim}, {dtype} on {name}",
        f"  {'implementation':<16}{'error':>10}{'ms':>10}",
    ]
    for impl, reasons in explanation.unsupported_reasons.items():
        if reasons:
            lines.append(f"  {impl:<16}cannot run here: {'; '.join(reasons)}")
            continue

        def call(impl: str = impl) -> Tensor:
            return op(query, key, value, plan, impl=impl)

        error = (call().double() - exact).abs().max() / exact.abs().max()
        chosen = "  <- auto" if impl == explanation.implementation else ""
        lines.append(f"  {impl:<16}{error.item():>10.1e}{_milliseconds(call, device):>10.2f}{chosen}")
    return "\n".join(lines) + "\n"


def _milliseconds(call: Callable[[], Tensor], device: str, budget: float = 1.0) -> float:
    """Median over as many calls as fit in `budget` seconds, one at least."""
    times: list[float] = []
    while not times or sum(times) < budget:
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1e3 * median(times)


if __name__ == "__main__":
    main()

"""First call: seven frames between two endpoints, and what serves them on this machine."""

from __future__ import annotations

import tomllib
from pathlib import Path

import kernels
import torch

general = tomllib.loads((Path(__file__).parent / "build.toml").read_text("utf-8"))["general"]
aid_kernels = kernels.get_kernel(general["hub"]["repo-id"], version=general["version"])

device = "cuda" if torch.cuda.is_available() else "cpu"
plan = aid_kernels.InterpolationPlan.sequence([0, 0.2, 0.35, 0.5, 0.65, 0.8, 1], device=device)
q, k, v = (torch.randn(7, 8, 256, 40, device=device) for _ in range(3))

print(plan)
print(aid_kernels.explain(q, k, v, plan, mode="outer"))
error = aid_kernels.outer_attention(q, k, v, plan) - aid_kernels.outer_attention(q, k, v, plan, impl="reference")
print(f"largest difference to the reference: {error.abs().max():.1e}")

"""Seven frames at layers of SD 1.5 and SDXL, beside stock attention on concatenated keys."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from kernels.benchmark import Benchmark
from torch import Tensor

COEFFICIENTS = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
# heads, queries, keys, head_dim
SHAPES = {
    "sd15_cross": (8, 4096, 77, 40),
    "sd15_self": (8, 1024, 1024, 80),
    "sdxl_self": (20, 1024, 1024, 64),
}


class InterpolatedAttention(Benchmark):
    """Workloads `<mode>_<layer>`; the reference that speed-ups are over is two stock calls a frame and a sum."""

    seed = 0

    def _set_up(self, layer: str) -> None:
        heads, queries, keys, head_dim = SHAPES[layer]
        dtype = torch.float32 if torch.device(self.device).type == "cpu" else torch.float16
        self.q, self.k, self.v = (
            torch.randn(len(COEFFICIENTS), heads, length, head_dim, device=self.device, dtype=dtype)
            for length in (queries, keys, keys)
        )
        self.plan = self.kernel.InterpolationPlan.sequence(COEFFICIENTS, device=self.device)

    def _run(self, mode: str) -> None:
        self.out = getattr(self.kernel, f"{mode}_attention")(self.q, self.k, self.v, self.plan)

    def _stock_outer(self) -> Tensor:
        """Equation (2) as written: each endpoint's keys beside the frame's own, the two results mixed."""
        t = torch.tensor(COEFFICIENTS, device=self.device, dtype=self.q.dtype)[:, None, None, None]
        first, last = (
            F.scaled_dot_product_attention(self.q, self._beside(self.k, row), self._beside(self.v, row))
            for row in (0, -1)
        )
        return self._with_plain_endpoints((1 - t) * first + t * last)

    def _stock_inner(self) -> Tensor:
        """Equation (4): the endpoints' keys and values mixed, beside the frame's own."""
        t = torch.tensor(COEFFICIENTS, device=self.device, dtype=self.q.dtype)[:, None, None, None]
        key, value = (torch.cat([(1 - t) * part[:1] + t * part[-1:], part], dim=2) for part in (self.k, self.v))
        return self._with_plain_endpoints(F.scaled_dot_product_attention(self.q, key, value))

    def _beside(self, part: Tensor, row: int) -> Tensor:
        return torch.cat([part[row].expand_as(part), part], dim=2)

    def _with_plain_endpoints(self, out: Tensor) -> Tensor:
        ends = [0, -1]
        out[ends] = F.scaled_dot_product_attention(self.q[ends], self.k[ends], self.v[ends])
        return out

    def setup_outer_sd15_cross(self) -> None:
        self._set_up("sd15_cross")

    def benchmark_outer_sd15_cross(self) -> None:
        self._run("outer")

    def verify_outer_sd15_cross(self) -> Tensor:
        return self._stock_outer()

    def setup_outer_sd15_self(self) -> None:
        self._set_up("sd15_self")

    def benchmark_outer_sd15_self(self) -> None:
        self._run("outer")

    def verify_outer_sd15_self(self) -> Tensor:
        return self._stock_outer()

    def setup_outer_sdxl_self(self) -> None:
        self._set_up("sdxl_self")

    def benchmark_outer_sdxl_self(self) -> None:
        self._run("outer")

    def verify_outer_sdxl_self(self) -> Tensor:
        return self._stock_outer()

    def setup_inner_sd15_self(self) -> None:
        self._set_up("sd15_self")

    def benchmark_inner_sd15_self(self) -> None:
        self._run("inner")

    def verify_inner_sd15_self(self) -> Tensor:
        return self._stock_inner()

    def setup_inner_sdxl_self(self) -> None:
        self._set_up("sdxl_self")

    def benchmark_inner_sdxl_self(self) -> None:
        self._run("inner")

    def verify_inner_sdxl_self(self) -> Tensor:
        return self._stock_inner()

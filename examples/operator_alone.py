"""Operator alone: interpolated attention on tensors, with torch and no pipeline.

python examples/operator_alone.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from aid_kernels import InterpolationPlan, explain, inner_attention, outer_attention


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    t = torch.linspace(0, 1, 7)
    plan = InterpolationPlan.sequence(t, device=device)  # the first and the last row are the endpoints
    query, key, value = (
        torch.randn(7, 8, 256, 64, device=device) for _ in range(3)
    )  # (frames, heads, length, head_dim)

    outer = outer_attention(query, key, value, plan)  # fused with self-attention, as by default
    inner = inner_attention(query, key, value, plan)
    print(explain(query, key, value, plan))  # which implementation serves this, and why not the others

    # an endpoint attends as in a plain batch
    plain = F.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(outer[0], plain[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(inner[-1], plain[-1], rtol=1e-4, atol=1e-4)

    # outer attention of an interior frame, written as in the paper
    expected = torch.lerp(attend_with(query, key, value, 2, 0), attend_with(query, key, value, 2, 6), float(t[2]))
    torch.testing.assert_close(outer[2], expected, rtol=1e-4, atol=1e-4)
    print("endpoints are plain attention; frame 2 is (1 - t) Attn([first, own]) + t Attn([last, own])")


def attend_with(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, frame: int, endpoint: int) -> torch.Tensor:
    """Attention of a frame to an endpoint's keys and its own, (heads, length, head_dim)."""
    keys, values = (torch.cat([tensor[endpoint], tensor[frame]], dim=-2) for tensor in (key, value))
    return F.scaled_dot_product_attention(query[frame], keys, values)


if __name__ == "__main__":
    main()

"""Implementations of the op: `reference` (float64, the oracle), `sdpa` (PyTorch's own attention ops), `triton` (kernels).

Each has `outer_attention(inputs)` and `inner_attention(inputs)`. They import `inputs`, `layout` and `tuning`, never each
other; `triton` alone imports Triton, and is itself imported only by the call that needs it.
"""

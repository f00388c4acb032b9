"""Implementations of the op: `reference` (float64, the oracle), `sdpa` (PyTorch's own attention ops), `triton`.

Each has `outer_attention(inputs)` and `inner_attention(inputs)`. They import `inputs`, `layout` and, for the kernels,
`tuning`, but never each other; `triton` alone imports Triton, and only the call that needs it imports `triton`.
"""

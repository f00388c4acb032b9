"""Implementations of the op: `reference` (float64, the oracle), `sdpa` (PyTorch's own attention ops), `triton`.

Each has ``outer_attention(inputs)`` and ``inner_attention(inputs)``, and none imports another. `sdpa_concatenated` and
`log_sum_exp_ops` are two routes of `sdpa`. `triton` alone imports Triton, and only the call that needs it imports
`triton`. Imports `inputs`, `layout`, `hidden`, `biases`, `tuning`, `plan` and `constants`.
"""

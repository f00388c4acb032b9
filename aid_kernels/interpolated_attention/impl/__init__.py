"""Implementations of the op: `reference` (float64, the oracle), `sdpa` (PyTorch's own ops), `triton`, `hopper`.

Each has ``outer_attention(inputs)`` and ``inner_attention(inputs)``, and none imports another. `sdpa_concatenated` and
`log_sum_exp_ops` are two routes of `sdpa`. `triton` and `hopper` alone import Triton, and only the call that needs one
imports it. Imports `inputs`, `layout`, `hidden`, `biases`, `tuning`, `plan` and `constants`.
"""

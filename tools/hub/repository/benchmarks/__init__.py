"""Benchmarks for the command `kernels benchmark`, one method per workload, in `benchmark_attention`.

They need torch and the hub's library, which hands them the kernel.
"""

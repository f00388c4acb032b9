"""Benchmarks for the command `kernels benchmark`, one method per workload. They import `kernels` and torch alone."""

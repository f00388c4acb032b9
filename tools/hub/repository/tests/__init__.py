"""Tests of the kernel as the hub serves it; those marked `kernels_ci` run in the hub's CI. They import `kernels` alone.

From a checkout: `LOCAL_KERNELS=<repo-id of build.toml>=<this repository> pytest tests`.
"""

"""Tests of the kernel as the hub serves it: `test_operator`, on the kernel and device of `conftest`.

Those marked ``kernels_ci`` run in the hub's CI. From a checkout: `LOCAL_KERNELS=<repo-id>=<repository> pytest tests`
with the repo-id of build.toml.
"""

"""What the kernel-hub repository holds besides the package: card, example, tests, benchmarks, and how Nix builds it.

Copied as it is by `tools.hub`, all but this file. It imports the library `kernels`, which is not needed elsewhere, and
nothing of this tree.
"""

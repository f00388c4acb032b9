"""What the kernel-hub repository holds besides the package: card, `example`, `tests`, `benchmarks`, and Nix's flake.

Copied as it is, all but this file. It needs the hub's library ``kernels``, which nothing else does, and no other file
of this tree.
"""

"""Hopper implementation: `forward` (the function), `launch` (what the kernel is given), `attend` (the Gluon kernel).

Outer attention alone. `support` says what it can serve, and is the one module here that does not import Triton. No GPU
has run it yet, so it serves nothing unless `AID_KERNELS_EXPERIMENTAL` is 1. Imports `inputs`, `layout`, `tuning` and
`constants`, and no other implementation.
"""

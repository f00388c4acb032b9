"""Triton implementation: `forward` (the two functions), `launch` (what a kernel is given), `attend`, `lerp`.

`tile_ops` holds the parts of both kernels, `pack` makes bits of masks. `support` says what the kernels can serve, and
is the one module here that does not import Triton. Imports `inputs`, `layout`, `biases`, `tuning` and `constants`, and
no other implementation.
"""

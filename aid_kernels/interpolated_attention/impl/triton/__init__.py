"""Triton implementation: `forward` (the two functions), `launch` (what a kernel is given), `attend`, `lerp`, `tiles`.

`support` says what the kernels can serve, and is the one module here that does not import Triton. This room imports
`inputs`, `layout` and `tuning`, and no other implementation.
"""

"""Configurations of the kernels: `static` (tables per chip), `files` and `tuned` (measured per GPU), `targets` (names).

A new tile size belongs here. This room imports `inputs` and `constants`; it is read without Triton and without a GPU.
"""

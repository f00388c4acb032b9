"""Measurements: a room for each thing measured, `common` below them, `report` and the commands above.

`python -m benchmarks.<name>` writes under `results/`; `pytest benchmarks --benchmark-only` runs the small ones.
May import `aid_kernels` and `aid_pipeline`, which know nothing of it.
"""

"""Measurements: a room for each thing measured, `common` below them, `report` and the commands above.

`operator` is measured alone, `denoiser` a step, `sequence` a whole one, `paper` a comparison; `gpu` is everything on a
GPU, `tune` a search, `compile_report` needs none; `same_as` proves a refactor. `operator_cpu`, `sequence_cpu`,
`selection` and `throughput` are commands into these rooms; `pretended_gpu` writes the first run in docs/choices.md.
``python -m benchmarks.<name>`` writes under ``results/``; ``pytest benchmarks --benchmark-only`` runs the small ones.
Imports `aid_kernels` and `aid_pipeline`, which know nothing of it.
"""

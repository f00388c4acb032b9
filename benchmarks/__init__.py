"""Measurements: `python -m benchmarks.<name>` writes under `results/`; `pytest benchmarks` runs the small ones."""

"""`python -m benchmarks.paper`: the paper's comparison (arXiv 2403.17924, Table 1 and ablation), run for real."""

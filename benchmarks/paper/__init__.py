"""`python -m benchmarks.paper`: the paper's comparison and ablation on any model, and how they depend on the dtype.

May import `common`.
"""

"""What the kernels compile to for every chip, and how long a cost model expects them to take.

`python -m benchmarks.compile_report`. May import `operator` and `common`.
"""

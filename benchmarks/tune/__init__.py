"""`python -m benchmarks.tune`: the search for the best way to launch the kernel on a GPU.

May import `compile_report`, `operator` and `common`.
"""

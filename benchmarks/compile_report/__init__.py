"""What the kernels compile to for every chip, and how long a cost model expects them to take.

``python -m benchmarks.compile_report``. `specialisations` lists what to compile, `compiled_kernel` compiles and reads
it, `chips` is the table of GPUs, `cost_model` predicts. Imports `common`.
"""

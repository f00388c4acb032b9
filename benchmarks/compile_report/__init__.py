"""What the kernels compile to for every chip, and how long a cost model expects them to take.

``python -m benchmarks.compile_report``. `specialisations` lists what to compile, `compiled_kernel` compiles and reads
it; of its `machine_code` the `loops` are counted by `pipes` and followed `in_order`. `loop_cycles` adds them up to a
program, `chips` is the table of GPUs, `cost_model` predicts; `changes` shows what each change of the kernel did,
`hopper` what the Gluon kernel compiles to, `versions` what each version of Triton makes of it.
Imports `common`.
"""

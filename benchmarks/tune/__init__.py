"""``python -m benchmarks.tune``: the search for the best way to launch the kernel on a GPU.

`space` lists ways, `compile` compiles them ahead, `search` measures, `choice` writes what is kept. Imports
`compile_report`, `operator` and `common`.
"""

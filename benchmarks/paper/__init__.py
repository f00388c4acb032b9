"""``python -m benchmarks.paper``: the paper's comparison and ablation on any model, and how they depend on the dtype.

`arguments` are parsed; `run` measures the `pairs` of prompts, a `unit` each, in a `store`; `prior` is fitted on others.
`archive` is what is committed, `table` its page, `claims` what the paper says, `precision` the study of the dtype.
Imports `common`.
"""

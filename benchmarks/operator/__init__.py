"""The operator alone, against its rivals, on a CPU and on a GPU.

`peers` are the rivals, `shapes` the layers it is measured on, `cpu` and `gpu` the measurements, `test_peers` the small
ones by pytest-benchmark. Imports `common`.
"""

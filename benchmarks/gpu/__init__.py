"""``python -m benchmarks.gpu``: everything that is to be measured on a GPU, in one run with a hard limit of time.

`parts` lists them and shares out the time, `correctness` is the first, `files` and `charts` are what is written. The
others, among them `tune` and `denoiser`, are loaded by name when they run, since a GPU machine may lack their packages.
Imports `operator` and `common`.
"""

"""`python -m benchmarks.gpu`: everything that is to be measured on a GPU, in one run with a hard limit of time.

May import `operator` and `common`. Its parts, among them `tune` and `denoiser`, are loaded by name when they run, since
a GPU machine may lack their packages.
"""

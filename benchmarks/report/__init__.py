"""`python -m benchmarks.report`: committed results as tables and plots, in the pages where they belong.

May import every other room but `gpu` and `tune`, for what their results mean.
"""

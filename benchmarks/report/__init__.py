"""``python -m benchmarks.report``: committed results as tables and plots, in the pages where they belong.

`collect` reads results and says which are stale; `cpu`, `gpu`, `paper` and `overview` write them as text, `plots` as
SVG. Imports `compile_report`, `operator`, `denoiser`, `sequence`, `paper` and `common`, for what their results mean.
"""

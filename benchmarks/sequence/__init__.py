"""Whole sequences on a CPU: times and memory against the public schedule, and dynamic selection pair by pair.

`cpu` is the first, with SDXL and FLUX in `proportions`, `selection` the second with its `selection_page`. Imports
`paper` (for its pairs of prompts), `denoiser` and `common`.
"""

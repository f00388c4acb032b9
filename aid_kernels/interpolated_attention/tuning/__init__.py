"""Tile sizes and launch options of the kernels, and the choice among implementations: shipped, measured or static.

How a kernel is launched: `tile_sizes` (tables per chip), `files` and `tuned` (measured per GPU and shipped), `targets`
(names). What serves a call where nothing is shipped: `choice` (a kind of call, what may serve it), `candidates`,
`measure` with `acceptance` and `clocks`, `cache` with `machine`, `settled` (in force in this process), `recording` (for
``sequence.json``), `routes` (of the stock recipe on the CPU). A new tile size belongs here. It is read without Triton
and without a GPU. Imports `inputs` and `constants`.
"""

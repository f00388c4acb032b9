"""Studies of many sequences: what the paper measures, in a folder with a report.

`evaluation` measures sequences, `comparison` sets methods side by side, `diagnosis` replaces attention layer by layer;
each has a `run` that does the job for its command. `plots` draws for all three. None imports a command. Imports
`request` and what is below it.
"""

"""Studies of many sequences: what the paper measures, in a folder with a report.

`evaluation` measures sequences, `comparison` sets methods side by side, `diagnosis` replaces attention layer by layer;
each has a `run.py` that does the job for its command. The room may import `request` and what is below it, but no
command.
"""

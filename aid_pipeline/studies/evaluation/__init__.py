"""Evaluation of sequences in folders, or of those generated from a file of prompts, as a report.

`prompts_file` generates, `measure` measures, `report` writes, `time_left` is for logs; `run` is what ``aid evaluate``
calls.
"""

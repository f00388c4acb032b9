"""Evaluation of sequences in folders, or of those generated from a file of prompts, as a report.

`prompts_file.py` generates, `measure.py` measures, `report.py` writes, `run.py` is what `aid evaluate` calls.
"""

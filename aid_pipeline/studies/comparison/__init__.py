"""Comparison of methods side by side: the paper's methods and baselines, from equal prompts and noise.

`methods.py` names and samples them, `page.py` draws them, `run.py` is what `aid compare` calls.
"""

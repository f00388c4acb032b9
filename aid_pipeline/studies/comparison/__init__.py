"""Comparison of methods side by side: the paper's methods and baselines, from equal prompts and noise.

`methods` names and samples them, `page` draws them, `run` is what ``aid compare`` calls.
"""

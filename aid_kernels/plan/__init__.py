"""Who attends to whom: the sources and weights of every row of a batch.

`interpolation_plan.py` is the class, `construction.py` the sources and weights of sequences, chains and grids,
`validation.py` what any pair of them must hold to. Nothing here knows attention; this room imports torch alone.
"""

from .interpolation_plan import InterpolationPlan, Term

__all__ = ["InterpolationPlan", "Term"]

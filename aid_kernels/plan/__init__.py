"""Who attends to whom: the sources and weights of every row of a batch.

`interpolation_plan` is the class, `construction` the sources and weights of sequences, chains and grids, `values` how
arguments are read, `validation` what any pair of them must hold to. Nothing here knows attention. Imports no other
room.
"""

from .interpolation_plan import InterpolationPlan, Term

__all__ = ["InterpolationPlan", "Term"]

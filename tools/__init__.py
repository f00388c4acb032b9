"""Checks of the repository itself, which read sources and import none of them.

`rooms` is the command; `imports` reads the import graph, `sizes` measures files and functions, `doors` looks into each
folder's `__init__.py`; `versions` writes the page of tested versions; `hub` lays out the operator for a kernel hub.
"""

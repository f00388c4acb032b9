"""Checks of the repository itself, which read sources and import none of them.

`rooms` is the command; `imports` reads the import graph, `sizes` measures files and functions, `class_names` finds
families known by class, `doors` compares each folder's ``__init__.py`` with what is there; `versions` writes the page
of tested versions, `hub` lays out the operator for a kernel hub, `site` is a hook of mkdocs. Imports no other room.
"""

"""``python -m benchmarks.same_as OLD``: proof that this tree computes what an older one does, after a refactor.

`trace` runs in either tree and imports nothing else of it but what is public. Imports `common`.
"""

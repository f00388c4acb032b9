"""Selection of coefficients by how far the images are apart (arXiv 2403.17924, appendices D and F).

`settings` is what a user asks for, `checks` what that cannot go with. `beta_fit`, `path` and `dynamic` are dynamic
selection; `bayes` searches the parameters of a Beta prior; `retiming` spaces a sequence that is there already: none of
these knows a pipeline. `run` samples the frames they ask for. Imports `sampling`, `metrics` and what is below them.
"""

from __future__ import annotations

from .settings import Selection

__all__ = ["Selection"]

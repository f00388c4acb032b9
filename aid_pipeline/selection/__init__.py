"""Selection of coefficients by how far the images are apart (arXiv 2403.17924, appendices D and F).

`settings.py` is what a user asks for. `beta_fit.py`, `path.py` and `dynamic.py` are dynamic selection; `bayes.py`
searches the parameters of a Beta prior; `retiming.py` spaces a sequence that is there already: none of these knows a
pipeline. `run.py` samples the frames they ask for. The room may import `sampling`, `metrics` and what is below them.
"""

from __future__ import annotations

from .settings import Selection

__all__ = ["Selection"]

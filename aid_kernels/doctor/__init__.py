"""Doctor: compiles, checks and measures the attention of known models on this machine, and says what it found.

`shapes` (the calls of known models), `examine` (measures them and fills the cache), `page` (table and plain words).
``python -m aid_kernels.doctor`` needs torch and Triton alone. Imports `interpolated_attention`, `plan`, `constants` and
`version`.
"""

from .examine import Examination, examine
from .page import page
from .shapes import MODELS, Shape

__all__ = ["MODELS", "Examination", "Shape", "examine", "page"]

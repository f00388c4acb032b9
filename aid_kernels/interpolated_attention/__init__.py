"""One op, outer and inner interpolated attention, in three implementations behind one contract; see README.md here."""

from .api import explain, inner_attention, outer_attention
from .dispatch import Explanation

__all__ = ["Explanation", "explain", "inner_attention", "outer_attention"]

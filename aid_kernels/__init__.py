"""Interpolated attention for all frames of a sequence in one batched pass. Importing it needs torch alone."""

from .interpolated_attention import Explanation, explain, inner_attention, outer_attention
from .plan import InterpolationPlan
from .version import __version__

__all__ = ["Explanation", "InterpolationPlan", "__version__", "explain", "inner_attention", "outer_attention"]

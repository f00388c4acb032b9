"""Constants of the operator that callers share: names, head sizes, environment variables."""

MODES = ("outer", "inner")
"""Interpolated attention: a weighted sum of attentions, or attention to a weighted sum of keys and values."""
IMPLEMENTATIONS = ("triton", "hopper", "sdpa", "reference")
"""What `impl` may name beside "auto"."""

HEAD_DIM_STEP = 8
MAX_HEAD_DIM = 256
"""Head_dim is a multiple of the step, up to the maximum."""

IMPL_VARIABLE = "AID_KERNELS_IMPL"
"""The implementation that stands in for impl="auto"."""
CONFIG_DIR_VARIABLE = "AID_KERNELS_CONFIG_DIR"
"""A folder of the user's own tuned configurations."""
CACHE_DIR_VARIABLE = "AID_KERNELS_CACHE_DIR"
"""The folder that measured choices are kept in, in place of the user's cache folder."""
AUTO_VARIABLE = "AID_KERNELS_AUTO"
"""Whether impl="auto" may measure: "measure" (default) or "static"."""
EXPERIMENTAL_VARIABLE = "AID_KERNELS_EXPERIMENTAL"
"""1 allows kernels that no GPU has run yet."""
INTERPRET_VARIABLE = "TRITON_INTERPRET"
"""Triton's own switch: kernels run on CPU tensors, for tests."""

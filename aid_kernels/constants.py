"""Constants of the operator that callers share: names, head sizes, environment variables."""

# interpolated attention: a weighted sum of attentions, or attention to a weighted sum of keys and values
MODES = ("outer", "inner")
# what `impl` may name beside "auto"
IMPLEMENTATIONS = ("triton", "sdpa", "reference")

# head_dim is a multiple of the step, up to the maximum
HEAD_DIM_STEP = 8
MAX_HEAD_DIM = 256

# the implementation that stands in for impl="auto"
IMPL_VARIABLE = "AID_KERNELS_IMPL"
# a folder of the user's own tuned configurations
CONFIG_DIR_VARIABLE = "AID_KERNELS_CONFIG_DIR"
# the folder that measured choices are kept in, in place of the user's cache folder
CACHE_DIR_VARIABLE = "AID_KERNELS_CACHE_DIR"
# whether impl="auto" may measure: "measure" (default) or "static"
AUTO_VARIABLE = "AID_KERNELS_AUTO"
# Triton's own switch: kernels run on CPU tensors, for tests
INTERPRET_VARIABLE = "TRITON_INTERPRET"

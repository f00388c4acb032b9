"""Configuration of attention interpolation: the mode, the share of the steps, the implementation; default sampling."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import ConfigError

MODES = ("outer", "inner", "none", "denoising")
# of the stock call; what the miniature's card shows is sampled with them too
DEFAULT_STEPS = 25
DEFAULT_GUIDANCE = 5.0


@dataclass(frozen=True)
class AIDConfig:
    """How interior frames attend (arXiv 2403.17924, section 4).

    Args:
        mode: "outer" (AID-O: a weighted sum of attentions to each endpoint), "inner" (AID-I: attention to a weighted
            sum of the endpoints' keys and values), or a baseline with plain attention everywhere: "none" (TEI, lerped
            embeddings) or "denoising" (DI, which `interpolate` alone offers: the prompt changes during the denoising).
        fuse_self: frames also attend to their own keys and values, together with the endpoints'.
        warmup: share of the denoising steps, from the first on, with interpolated attention: round(warmup * steps).
        impl: implementation of the operator, "auto" or of `aid_kernels.IMPLEMENTATIONS`. A named one never falls back.

    Raises:
        ConfigError: an unknown mode or implementation, a `fuse_self` that is no bool, a `warmup` outside [0, 1].
    """

    mode: str = field(
        default="outer",
        metadata={"help": "outer (layout moves), inner (concepts blend), none (TEI), denoising (DI)."},
    )
    fuse_self: bool = field(default=True, metadata={"help": "Frames also attend to themselves."})
    warmup: float = field(default=0.5, metadata={"help": "Share of the steps with interpolated attention, 0 to 1."})
    impl: str = field(default="auto", metadata={"help": "auto, triton, hopper, sdpa or reference; see `aid info`."})

    def __post_init__(self) -> None:
        from aid_kernels import IMPLEMENTATIONS  # loads torch

        if not isinstance(self.mode, str) or self.mode not in MODES:
            raise ConfigError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        if not isinstance(self.fuse_self, bool):
            raise ConfigError(f"fuse_self must be True or False, got {self.fuse_self!r}")
        if isinstance(self.warmup, bool) or not isinstance(self.warmup, int | float):
            raise ConfigError(f"warmup must be a number from 0 to 1, got {self.warmup!r}")
        if not 0 <= self.warmup <= 1:  # catches NaN too
            raise ConfigError(f"warmup is a share of the steps, from 0 to 1, got {self.warmup!r}")
        if not isinstance(self.impl, str) or self.impl not in ("auto", *IMPLEMENTATIONS):
            raise ConfigError(f"impl must be one of auto, {', '.join(IMPLEMENTATIONS)}, got {self.impl!r}")

    def active_steps(self, num_steps: int) -> int:
        """How many of `num_steps` steps interpolate; halves round to even, so that warmup=0.5 of 25 steps is 12."""
        return 0 if self.mode in ("none", "denoising") else round(self.warmup * num_steps)

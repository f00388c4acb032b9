"""What goes wrong, by name. Every error says which value is at fault and what to do about it."""

from __future__ import annotations


class AIDError(ValueError):
    """Base of all errors of this package: bad input, or a pipeline that attention interpolation cannot serve."""


class ConfigError(AIDError):
    """A field of `AIDConfig` or `Frames` is wrong or contradicts another."""


class UnsupportedPipelineError(AIDError):
    """The pipeline, denoiser or attention processor cannot be interpolated (PAG, xFormers, no attention layers, ...)."""


class UnsupportedAttentionError(AIDError):
    """An attention call asks for what the operator does not do (causal, dropout, grouped queries, a general mask)."""


class RowsError(AIDError):
    """The frames were not found in a denoiser call, or not unambiguously."""


class BusyError(AIDError):
    """The denoiser already serves another sequence, in another thread or further up this one."""

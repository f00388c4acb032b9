"""Errors and warnings of the package; each names the value at fault and what to do about it."""

from __future__ import annotations


class AIDError(ValueError):
    """Base of all errors of this package: bad input, or a pipeline that attention interpolation cannot serve."""


class ConfigError(AIDError):
    """A field of `AIDConfig` or `Frames` is wrong or contradicts another."""


class UnsupportedPipelineError(AIDError):
    """The pipeline, denoiser or attention processor cannot be interpolated (PAG, xFormers, no attention layers)."""


class UnsupportedAttentionError(AIDError):
    """An attention call asks for what the operator does not do (causal, dropout, grouped queries, a misfit mask)."""


class RowsError(AIDError):
    """No rows of a denoiser call are the frames, or more than one set of rows could be."""


class BusyError(AIDError):
    """The denoiser already runs another sequence, in another thread or further up this one."""


class CoefficientsError(AIDError):
    """The frames' coefficients are not what the method needs: from 0 to 1, never decreasing, one per frame."""


class PromptError(AIDError):
    """A prompt is empty, longer than any text encoder reads, equal to the negative prompt, or a guide does not fit."""


class LatentsError(AIDError):
    """Given latents do not have the pipeline's shape, are not finite, or cannot be slerped; or a seed is not one."""


class ArgumentError(AIDError):
    """An argument that the stock call does not take, that `interpolate` sets itself, or whose value is out of range."""


class ModelError(AIDError):
    """The model is neither a folder with a pipeline in it, nor a hub id, nor the miniature."""


class OutputFolderError(AIDError):
    """The output folder holds something else, or cannot be written to, or holds no sequence to generate again."""


class ImageFileError(AIDError):
    """An image file cannot be read, is animated, or has a size or pixels that no frame can be made of."""


class InversionError(AIDError):
    """An image cannot be inverted by this pipeline, or an inversion does not belong to this sequence."""


class DistanceError(AIDError):
    """A perceptual distance is unknown, its weights are missing or of another kind, or its values are no distances."""


class SelectionError(AIDError):
    """A setting of the choice of coefficients is wrong, or too few frames were explored to choose from."""


class MetricsError(AIDError):
    """Something cannot be measured: a folder that is no sequence, a damaged image, a missing extra."""


class IncomparableError(MetricsError):
    """Figures that do not mean the same: smoothness of sequences of different lengths, or of different distances."""


class FrameWarning(UserWarning):
    """Frames that are not finite or that the safety checker blacked out, by number; or prompts worth a warning."""

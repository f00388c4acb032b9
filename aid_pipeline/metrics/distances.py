"""Perceptual distances between images: what selection evens out and what metrics report.

A distance maps two batches of images, (n, 3, height, width) float32 in [0, 1], to (n,) numbers >= 0, which are 0 for
equal images, and has a `name` that says in reports what was measured. Figures of different distances must not be
compared. Weights are safetensors files on this machine; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DistanceError
from ..extras import naming_extra
from .preprocessing import ImagePreprocessor

Distance = Callable[[Tensor, Tensor], Tensor]
KINDS = ("miniature", "clip", "dino", "lpips")
IMAGES_AT_ONCE = 32  # through a network: bounds its memory
_PIXEL_SCALE = 2.0  # LPIPS reads pixels in [-1, 1]


def distance(which: str | Distance = "miniature") -> Distance:
    """A distance by its name, or a callable of one's own.

    Args:
        which: one of

            - "miniature": features of the miniature's own CLIP vision tower, compared as in LPIPS without learnt
              weights (`TokenDistance`). "miniature:FOLDER" takes the tower of another folder of that kind.
            - "clip:FOLDER": 1 - cosine of the image embeddings of a CLIP model's transformers folder.
            - "dino:FOLDER": 1 - cosine of the class token of a DINO or DINOv2 model's transformers folder.
            - "lpips:FILE": LPIPS-VGG16 v0.1 (extra `paper-metrics`) with weights from a safetensors file. Upstream
              ships .pth files, which this package does not unpickle; convert them once:
              `safetensors.torch.save_model(lpips.LPIPS(net="vgg"), "lpips_vgg.safetensors")`.
            - any callable with the signature of `Distance`; its `name`, or else its `__name__`, goes into reports.

    Raises:
        DistanceError: an unknown name, a folder or file that is not there or is not of that kind.
    """
    if not isinstance(which, str):
        if not callable(which):
            raise DistanceError(f"distance must be a name or a callable of two batches of images, got {which!r}")
        return which
    kind, _, place = which.partition(":")
    if kind not in KINDS:
        raise DistanceError(f"distance must be one of {', '.join(KINDS)} or a callable, got {which!r}")
    if kind == "miniature":
        return _miniature(Path(place).expanduser() if place else None)
    if not place:
        raise DistanceError(f'distance {kind!r} needs its weights: "{kind}:{"FILE" if kind == "lpips" else "FOLDER"}"')
    path = Path(place).expanduser()
    return _lpips(path) if kind == "lpips" else _embedding(kind, path)


def distance_name(measure: Distance) -> str:
    """What reports call a distance."""
    return str(getattr(measure, "name", None) or getattr(measure, "__name__", None) or type(measure).__name__)


def measured(measure: Distance, first: Tensor, second: Tensor) -> Tensor:
    """`measure(first, second)`, checked: (n,) float64 on the CPU.

    Args:
        first, second: (n, 3, height, width) float32 in [0, 1].

    Raises:
        DistanceError: a result of another shape, negative or not finite.
    """
    with torch.no_grad():
        found = measure(first, second)
    if not isinstance(found, Tensor) or found.shape != first.shape[:1]:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise DistanceError(f"distance {distance_name(measure)} must return shape {(len(first),)}, got {shape}")
    found = found.detach().to("cpu", torch.float64)
    if not (torch.isfinite(found) & (found >= 0)).all():
        raise DistanceError(f"distance {distance_name(measure)} must be finite and >= 0, got {found.tolist()}")
    return found


def adjacent_distances(measure: Distance, images: Tensor) -> Tensor:
    """d_j between images j and j + 1: (n - 1,) float64 of (n, 3, height, width). Raises DistanceError."""
    return measured(measure, images[:-1], images[1:])


class _NetworkDistance:
    """A network's distance: in parts, in float32, on the images' device."""

    def __init__(self, model: nn.Module, name: str) -> None:
        self.name = name
        self._model = model.eval().requires_grad_(False).to(torch.float32)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @torch.no_grad()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances (n,) float32 of two batches (n, 3, height, width) in [0, 1]."""
        for images in (first, second):
            if images.ndim != 4 or images.shape[1] != 3 or images.shape != first.shape:
                raise DistanceError(
                    "a distance takes two equal batches (n, 3, height, width), "
                    f"got {tuple(first.shape)} and {tuple(second.shape)}"
                )
        self._model.to(first.device)
        pairs = zip(first.float().split(IMAGES_AT_ONCE), second.float().split(IMAGES_AT_ONCE), strict=True)
        parts = [self._between(a, b) for a, b in pairs]
        return torch.cat(parts) if parts else first.new_zeros(0, dtype=torch.float32)

    def _between(self, first: Tensor, second: Tensor) -> Tensor:
        raise NotImplementedError


class _TowerDistance(_NetworkDistance):
    """With a transformers vision tower, on whole images."""

    def __init__(self, model: nn.Module, name: str, preprocess: ImagePreprocessor) -> None:
        super().__init__(model, name)
        self._preprocess = preprocess


class TokenDistance(_TowerDistance):
    """The mean over all blocks, and over all patch tokens, of 1 - cosine of the two images' features.

    As LPIPS without learnt weights (Zhang et al., arXiv 1801.03924, equation 1 with w = 1), where half the squared
    distance of unit vectors is 1 - cosine; patch tokens of a vision transformer stand for the places of a feature map.
    In [0, 2].
    """

    def _between(self, first: Tensor, second: Tensor) -> Tensor:
        blocks = [
            self._model(pixel_values=self._preprocess(images), output_hidden_states=True).hidden_states[1:]
            for images in (first, second)
        ]
        # from the difference of unit vectors: 1 - cosine itself would lose small distances to rounding
        apart = [
            (F.normalize(a[:, 1:], dim=-1) - F.normalize(b[:, 1:], dim=-1)).square().sum(-1).mean(1) / 2
            for a, b in zip(*blocks, strict=True)
        ]
        return torch.stack(apart).mean(0)


class EmbeddingDistance(_TowerDistance):
    """1 - cosine of the two images' embeddings: CLIP's projected one, DINO's class token. In [0, 2]."""

    def _between(self, first: Tensor, second: Tensor) -> Tensor:
        a, b = (F.normalize(self._embedding(self._preprocess(images)), dim=-1) for images in (first, second))
        return (a - b).square().sum(-1) / 2

    def _embedding(self, pixels: Tensor) -> Tensor:
        output = self._model(pixel_values=pixels)
        projected = getattr(output, "image_embeds", None)
        embedding: Tensor = output.last_hidden_state[:, 0] if projected is None else projected
        return embedding


class LPIPSDistance(_NetworkDistance):
    """LPIPS of package `lpips` (arXiv 1801.03924), images at their own size."""

    def _between(self, first: Tensor, second: Tensor) -> Tensor:
        found: Tensor = self._model(first * _PIXEL_SCALE - 1, second * _PIXEL_SCALE - 1)
        return found.flatten()


@naming_extra("distance miniature")
def _miniature(folder: Path | None) -> TokenDistance:
    from transformers import CLIPVisionModelWithProjection

    from ..miniature.weights import MODEL_PATH, check

    place = folder or MODEL_PATH
    try:
        check(place)
    except (OSError, ValueError) as error:
        raise DistanceError(f"the miniature's tower cannot be used as a distance: {error}") from error
    preprocess = _preprocessor(place / "feature_extractor")
    name = "miniature CLIP tower (not LPIPS)" + (f" of {folder.name}" if folder else "")
    return TokenDistance(_loaded(CLIPVisionModelWithProjection, place / "image_encoder"), name, preprocess)


@naming_extra("distance clip or dino")
def _embedding(kind: str, folder: Path) -> EmbeddingDistance:
    from transformers import AutoModel, CLIPVisionModelWithProjection

    preprocess = _preprocessor(folder)
    model = _loaded(CLIPVisionModelWithProjection if kind == "clip" else AutoModel, folder)
    return EmbeddingDistance(model, f"{kind.upper()} ({folder.name})", preprocess)


def _loaded(cls: Any, folder: Path) -> nn.Module:
    try:
        model: nn.Module = cls.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        raise DistanceError(f"cannot load a vision tower from {folder}: {error}") from error
    return model


def _preprocessor(folder: Path) -> ImagePreprocessor:
    try:
        return ImagePreprocessor.read(folder / "preprocessor_config.json")
    except (OSError, ValueError) as error:
        raise DistanceError(f"{folder} has no image preprocessor: {error}") from error


def _lpips(path: Path) -> LPIPSDistance:
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    with naming_extra("distance lpips", DistanceError):
        import lpips
    if path.suffix != ".safetensors" or not path.is_file():
        raise DistanceError(
            f"distance lpips needs a safetensors file, got {path}; make one of the upstream weights with "
            'safetensors.torch.save_model(lpips.LPIPS(net="vgg"), "lpips_vgg.safetensors")'
        )
    model = lpips.LPIPS(net="vgg", pretrained=False, pnet_rand=True, verbose=False)  # every weight comes from the file
    try:
        load_model(model, path)
    except (RuntimeError, SafetensorError) as error:
        raise DistanceError(f"{path} does not hold lpips.LPIPS(net='vgg'): {error}") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return LPIPSDistance(model, f"LPIPS-VGG16 v0.1 (weights sha256 {digest[:12]})")

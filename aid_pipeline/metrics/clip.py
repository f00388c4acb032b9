"""CLIP model from a local folder: image features, and CLIP scores of images with prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import MetricsError
from ..extras import naming_extra
from .preprocessing import ImagePreprocessor

IMAGES_AT_ONCE = 32  # through the tower: bounds its memory


class Clip:
    """Both towers of a CLIP model.

    Args:
        folder: a transformers folder with model, tokenizer and `preprocessor_config.json`; or the miniature's, whose
            parts lie in folders `clip`, `tokenizer` and `feature_extractor`. None: the miniature that is shipped.

    Attributes:
        name: for reports.

    Raises:
        MetricsError: the folder does not hold these parts.
    """

    @naming_extra("Clip")
    def __init__(self, folder: str | Path | None = None) -> None:
        from transformers import CLIPModel, CLIPTokenizer

        from ..miniature.weights import MODEL_PATH, check

        place = MODEL_PATH if folder is None else Path(folder).expanduser()
        miniature = folder is None or (place / "clip").is_dir()
        model, tokenizer, preprocessor = (
            (place / "clip", place / "tokenizer", place / "feature_extractor") if miniature else (place, place, place)
        )
        try:
            if miniature:
                check(place)
            self._model: Any = CLIPModel.from_pretrained(
                str(model), local_files_only=True, use_safetensors=True, dtype=torch.float32
            ).eval()
            self._tokenizer: Any = CLIPTokenizer.from_pretrained(str(tokenizer), local_files_only=True)
            self._preprocess = ImagePreprocessor.read(preprocessor / "preprocessor_config.json")
            weights = model / "model.safetensors"
            digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:12] if weights.is_file() else "sharded"
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MetricsError(f"{place} cannot be used as a CLIP model: {error}") from error
        self._model.requires_grad_(False)
        kind = "miniature's CLIP (not Inception, not OpenAI's CLIP)" if miniature else f"CLIP ({place.name})"
        self.name = f"{kind}, weights sha256 {digest}"

    def __repr__(self) -> str:
        return f"Clip({self.name!r})"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Projected image embeddings (n, d) float32, not normalised, of (n, 3, height, width) in [0, 1]."""
        self._model.to(images.device)
        parts = []
        for part in images.float().split(IMAGES_AT_ONCE):
            hidden = self._model.vision_model(pixel_values=self._preprocess(part)).pooler_output
            parts.append(self._model.visual_projection(hidden))
        return torch.cat(parts) if parts else images.new_zeros(0, self._model.config.projection_dim)

    @torch.no_grad()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Projected text embeddings (n, d) float32, not normalised.

        Raises:
            MetricsError: a prompt longer than the text tower reads.
        """
        for prompt in prompts:
            count = len(self._tokenizer(prompt, truncation=False, verbose=False).input_ids)
            if count > self._tokenizer.model_max_length:
                raise MetricsError(
                    f"the prompt {prompt!r} has {count} tokens, but the CLIP score's text tower reads "
                    f"{self._tokenizer.model_max_length}; shorten it"
                )
        tokens = self._tokenizer(list(prompts), padding="max_length", return_tensors="pt")
        device = self._model.logit_scale.device
        hidden = self._model.text_model(
            input_ids=tokens.input_ids.to(device), attention_mask=tokens.attention_mask.to(device)
        ).pooler_output
        projected: Tensor = self._model.text_projection(hidden)
        return projected

    def score(self, image_features: Tensor, prompts: Sequence[str]) -> Tensor:
        """CLIP score 100 cos(image, prompt) (Hessel et al., arXiv 2104.08718): (images, prompts) float64.

        Args:
            image_features: of this model, (n, d).
        """
        texts = self.text_features(prompts)
        images = F.normalize(image_features.double().cpu(), dim=-1)
        return 100 * images @ F.normalize(texts.double().cpu(), dim=-1).T

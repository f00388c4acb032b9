"""Small towers and images to measure with, and a miniature of random weights in a folder."""

import json
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model

from aid_pipeline.miniature.weights import write_sums

PIXELS = 16


def write_preprocessor(folder: Path, pixels: int = PIXELS) -> None:
    """What a CLIP image processor's file says, in numbers that are neither 0 nor 1."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"crop_size": {"height": pixels, "width": pixels}, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))


def clip_tower(seed: int = 0) -> CLIPVisionModelWithProjection:
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=PIXELS,
        patch_size=8,
        projection_dim=8,
    )
    return CLIPVisionModelWithProjection(config).eval()


def dino_tower() -> Dinov2Model:
    torch.manual_seed(1)
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=PIXELS, patch_size=8
    )
    return Dinov2Model(config).eval()


def miniature_folder(folder: Path) -> Path:
    """As much of a miniature's folder as the distance reads."""
    clip_tower().save_pretrained(folder / "image_encoder")
    write_preprocessor(folder / "feature_extractor")
    write_sums(folder)
    return folder


def images(count: int, seed: int = 0, pixels: int = PIXELS) -> Tensor:
    return torch.rand(count, 3, pixels, pixels, generator=torch.Generator().manual_seed(seed))

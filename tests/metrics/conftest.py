"""A miniature of random weights in a folder, and sequences of pictures to measure."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPTextModel, CLIPVisionModelWithProjection

from aid_pipeline.miniature import components
from aid_pipeline.miniature.training.assemble import assemble


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Models this small run fastest on one thread, and then several test processes do not get in each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def miniature(tmp_path_factory) -> Path:
    """The miniature's classes and folder, untrained."""
    folder = tmp_path_factory.mktemp("miniature")
    torch.manual_seed(0)
    tokenizer = components.new_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    clip = components.new_clip(tokenizer)
    clip.save_pretrained(folder / "clip")
    CLIPTextModel(clip.config.text_config).save_pretrained(folder / "text_encoder")
    CLIPVisionModelWithProjection(clip.config.vision_config).save_pretrained(folder / "image_encoder")
    components.new_vae().save_pretrained(folder / "vae")
    components.new_unet().save_pretrained(folder / "unet")
    components.new_scheduler().save_pretrained(folder / "scheduler")
    assemble(folder)
    return folder


def moving_square(frames: int = 5, pixels: int = 32, jump: int = 3) -> list[Image.Image]:
    """A square that moves by 2 pixels a frame, and by 8 into frame `jump`."""
    images, x = [], 1
    for index in range(frames):
        x += 0 if index == 0 else 8 if index == jump else 2
        image = Image.new("RGB", (pixels, pixels), (20, 40, 60))
        image.paste((250, 200, 30), (x, 10, x + 8, 18))
        images.append(image)
    return images


def write_frames(folder: Path, images: list[Image.Image], suffix: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        image.save(folder / f"frame{index}.{suffix}")
    return folder


def pixel_distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference: a distance whose values can be worked out by hand."""
    return (first - second).abs().flatten(1).mean(1)


def colour_features(pictures: torch.Tensor) -> torch.Tensor:
    """Mean and spread of each colour: (n, 6)."""
    return torch.cat([pictures.mean((2, 3)), pictures.std((2, 3))], dim=1)


colour_features.name = "colours (of a test)"
pixel_distance.name = "pixels (of a test)"

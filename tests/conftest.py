"""Before anything imports Triton or a hub client: interpret kernels on the CPU, and never reach for the network."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# measured choices of tests are not the user's
os.environ["AID_KERNELS_CACHE_DIR"] = tempfile.mkdtemp(prefix="aid-kernels-tests-")

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="how often the command is killed at a random point")


# rooms whose tests are for a change of theirs, not for every save
SLOW_ROOMS = ("benchmarks", "examples", "interpolation/test_variations.py", "metrics", "miniature", "packaging")
SLOW_ROOMS += ("selection", "studies")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    root = Path(__file__).parent
    for item in items:
        if root in item.path.parents and item.path.relative_to(root).as_posix().startswith(SLOW_ROOMS):
            item.add_marker(pytest.mark.slow)


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
    from transformers import CLIPTextModel, CLIPVisionModelWithProjection

    from aid_pipeline.miniature import components
    from aid_pipeline.miniature.training.assemble import assemble

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

"""Concrete classes of diffusers, named where they may be and where they may not."""

from pathlib import Path

import pytest

from tests.tools.test_imports import write
from tools.class_names import HOME, concrete_classes
from tools.rooms import PACKAGES, ROOT


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("from diffusers import StableDiffusionXLPipeline", "StableDiffusionXLPipeline"),
        ("def later():\n    import diffusers\n    diffusers.FluxTransformer2DModel()", "FluxTransformer2DModel"),
        ('if type(model).__name__ == "UNet2DConditionModel": pass', "UNet2DConditionModel"),
        ("def f(pipe: 'StableDiffusion3Pipeline'): pass", "StableDiffusion3Pipeline"),
        ("from diffusers import AutoPipelineForText2Image as Pipe", "AutoPipelineForText2Image"),
        ('"""As StableDiffusionPipeline does."""', "StableDiffusionPipeline"),
        ("import aid_pipeline  # not FluxPipeline", "FluxPipeline"),
    ],
)
def test_a_class_named_outside_families_is_a_fault(tmp_path: Path, text: str, name: str) -> None:
    write(tmp_path, p__families=text, p__room__families=text, p__families_of=text)
    first, second = concrete_classes(tmp_path, ["p"], "p/families")
    assert first.startswith(f"p/families_of.py names {name}:")
    assert second.startswith(f"p/room/families.py names {name}:")


def test_families_may_be_a_folder(tmp_path: Path) -> None:
    assert concrete_classes(write(tmp_path, p__families__flux="FluxPipeline"), ["p"], "p/families") == []


@pytest.mark.parametrize(
    "text",
    ["from diffusers import DiffusionPipeline, AutoModel", "class UnsupportedPipelineError(ValueError): pass"],
)
def test_what_is_no_concrete_class_passes(tmp_path: Path, text: str) -> None:
    assert concrete_classes(write(tmp_path, p__a=text), ["p"]) == []


def test_the_packages_name_none_outside_their_home() -> None:
    assert (ROOT / f"{HOME}.py").is_file() or (ROOT / HOME).is_dir()
    assert concrete_classes(ROOT, PACKAGES) == []

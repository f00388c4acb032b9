"""Concrete classes of diffusers, named where they may be and where they may not."""

from pathlib import Path

import pytest

from tests.tools.test_imports import write
from tools.class_names import MAY_NAME, concrete_classes
from tools.rooms import ROOT


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("from diffusers import StableDiffusionXLPipeline", "StableDiffusionXLPipeline"),
        ("def later():\n    import diffusers\n    diffusers.FluxTransformer2DModel()", "FluxTransformer2DModel"),
        ('if type(model).__name__ == "UNet2DConditionModel": pass', "UNet2DConditionModel"),
        ("def f(pipe: 'StableDiffusion3Pipeline'): pass", "StableDiffusion3Pipeline"),
        ("from diffusers import AutoPipelineForText2Image as Pipe", "AutoPipelineForText2Image"),
    ],
)
def test_a_class_named_outside_families_is_a_fault(tmp_path: Path, text: str, name: str) -> None:
    write(tmp_path, p__families=text, p__room__other=text)
    (found,) = concrete_classes(tmp_path, ["p"], {"p/families.py": "its home"})
    assert found.startswith(f"p/room/other.py names {name}:")
    assert concrete_classes(tmp_path, ["p"], {"p/families.py": "its home", "p/room": "builds one"}) == []


@pytest.mark.parametrize(
    "text",
    [
        "from diffusers import DiffusionPipeline",
        '"""As StableDiffusionPipeline does."""',
        "def f():\n    '''Of a UNet2DConditionModel.'''",
        "class UnsupportedPipelineError(ValueError): pass",
        "import aid_pipeline  # not FluxPipeline",
    ],
)
def test_what_is_no_concrete_class_passes(tmp_path: Path, text: str) -> None:
    assert concrete_classes(write(tmp_path, p__a=text), ["p"], {}) == []


def test_a_permission_that_nothing_needs_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path, p__a="", pp__b="FluxPipeline")
    (unused, used) = concrete_classes(
        tmp_path, ["p", "pp"], {"p/a.py": "once", "p": "a prefix of pp in letters alone"}
    )[1:]
    assert unused.startswith("p/a.py may name classes and names none")
    assert used.startswith("p may name")


def test_every_permission_is_of_something_that_is_there() -> None:
    assert [place for place in MAY_NAME if not (ROOT / place).exists()] == []

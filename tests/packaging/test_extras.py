"""Extras: what the base installation can do, and what names the extra that is missing."""

import os
import re
import subprocess
import sys
import tomllib

import pytest

from aid_pipeline.errors import MetricsError
from aid_pipeline.extras import PACKAGES, MissingPackageError, naming_extra, what_is_missing
from tests.packaging.test_wheel import ROOT, WITHOUT_PIPELINE

# each in an interpreter where nothing of the extra "pipeline" can be imported: a statement, and what it needs
NEEDING = {
    "from aid_pipeline import load_model; load_model()": "diffusers",
    "from aid_pipeline import miniature; miniature.load()": "diffusers",
    "from aid_pipeline import BetaPrior; BetaPrior(2, 2).coefficients(5)": "scipy",
    "from aid_pipeline import interpolate": "diffusers",
    "from aid_pipeline import Sequence": "pillow",
    "from aid_pipeline.metrics import read_frames": "pillow",
    "from aid_pipeline.metrics import preset": "pillow",
    "from aid_pipeline.metrics import bootstrap_mean; bootstrap_mean([1.0, 2.0])": "scipy",
    "from aid_pipeline.metrics.distances import distance; distance('miniature')": "transformers",
}
WITHOUT = (
    "from aid_pipeline import AIDConfig, BetaPrior, Frames, Selection",
    "from aid_pipeline.spec import InterpolationSpec; InterpolationSpec.between('a', 'b', select='dynamic')",
    "from aid_pipeline.request import Request",
)
TELL = """
for statement in STATEMENTS:
    try:
        exec(statement)
        print("runs")
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    """What came of each statement without the extra."""
    statements = [*NEEDING, *WITHOUT]
    done = subprocess.run(
        [sys.executable, "-c", f"{WITHOUT_PIPELINE}\nSTATEMENTS = {statements!r}\n{TELL}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return dict(zip(statements, done.stdout.splitlines(), strict=True))


@pytest.mark.parametrize("statement", NEEDING)
def test_what_needs_the_extra_names_it_and_the_package(told: dict[str, str], statement: str) -> None:
    assert re.fullmatch(
        rf"MissingPackageError .+ needs {NEEDING[statement]}: pip install 'aid-kernels\[pipeline\]'", told[statement]
    )


@pytest.mark.parametrize("statement", WITHOUT)
def test_the_rest_does_without(told: dict[str, str], statement: str) -> None:
    assert told[statement] == "runs"


def test_every_package_is_in_the_extra_that_is_named() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    brought = {extra: {re.split(r"[>\[]", name)[0] for name in names} for extra, names in extras.items()}
    brought["paper-metrics"].add("torchvision")  # comes with lpips
    assert [f"{package} in {extra}" for package, extra in PACKAGES.values() if package not in brought[extra]] == []
    assert brought["pipeline"] == {package for package, extra in PACKAGES.values() if extra == "pipeline"}


def test_errors_have_the_class_asked_for_and_name_what_is_too_old() -> None:
    told = r"^FID needs torchmetrics: pip install 'aid-kernels\[metrics\]'$"
    with pytest.raises(MetricsError, match=told), naming_extra("FID", MetricsError):
        raise ModuleNotFoundError(name="torchmetrics.image")
    with (
        pytest.raises(MissingPackageError, match=r"\(cannot import name 'x' from 'scipy'") as caught,
        naming_extra("f"),
    ):
        raise ImportError("cannot import name 'x' from 'scipy'", name="scipy.stats")
    assert caught.value.name == "scipy.stats"
    assert what_is_missing("it", "imageio", "av").startswith("it needs imageio and av: ")
    assert what_is_missing("it", "PIL", "typer", "rich").startswith("it needs pillow, typer and rich: ")


def test_what_is_of_no_extra_passes() -> None:
    with pytest.raises(ModuleNotFoundError) as caught, naming_extra("f"):
        raise ModuleNotFoundError("No module named 'peft'", name="peft")
    assert type(caught.value) is ModuleNotFoundError
    with pytest.raises(MissingPackageError, match=r"^inner needs scipy"), naming_extra("outer"), naming_extra("inner"):
        raise ModuleNotFoundError(name="scipy")

"""The wheel: what it asks for, what it holds, and that it works from there."""

import os
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = ("aid_kernels", "aid_pipeline")
BASE = {"torch", "triton", "numpy", "safetensors"}
PIPELINE = {"diffusers", "transformers", "scipy", "pillow", "typer", "rich"}
FEATURES = (
    "video",
    "accelerate",
    "plots",
    "metrics",
    "select",
    "paper-metrics",
    "train",
    "benchmark",
    "test",
    "all",
    "dev",
)

# the packages of the extra "pipeline" are hidden, as if they were not installed
WITHOUT_PIPELINE = """
import sys
hidden = {"diffusers", "transformers", "scipy", "PIL", "typer", "rich"}
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in hidden else find_spec(name)
sys.meta_path.insert(0, Hide())
"""
OPERATOR = """
import torch, aid_kernels
from aid_kernels import InterpolationPlan, outer_attention
assert ".whl" in aid_kernels.__file__ or "site" in aid_kernels.__file__, aid_kernels.__file__
query = torch.randn(3, 2, 8, 16)
assert outer_attention(query, query, query, InterpolationPlan.sequence([0.0, 0.4, 1.0])).isfinite().all()
"""
PYTHON_API = """
import aid_pipeline
try:
    aid_pipeline.interpolate
except ImportError as error:
    print(error)
"""
COMMAND = "from aid_pipeline.__main__ import main; main()"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources without a network."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True, timeout=200)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def needs(metadata: Message, *extras: str) -> set[str]:
    """Names that an installation with these extras brings on Linux, extras of extras included."""
    found: set[str] = set()
    for text in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(text)
        environments = [
            {**default_environment(), "platform_system": "Linux", "extra": extra} for extra in ("", *extras)
        ]
        if requirement.marker is None or any(requirement.marker.evaluate(each) for each in environments):
            own = requirement.name == metadata["Name"]
            found |= needs(metadata, *requirement.extras) if own else {requirement.name}
    return found


def test_base_brings_what_the_operator_needs_alone(metadata: Message) -> None:
    assert needs(metadata) == BASE
    assert needs(metadata, "pipeline") == BASE | PIPELINE


@pytest.mark.parametrize("extra", FEATURES)
def test_a_feature_brings_the_pipeline(metadata: Message, extra: str) -> None:
    assert extra in metadata.get_all("Provides-Extra", [])
    assert needs(metadata, extra) > BASE | PIPELINE


def test_all_and_dev_bring_every_feature(metadata: Message) -> None:
    assert needs(metadata, "dev") > needs(metadata, "all")
    assert needs(metadata, "all") >= needs(metadata, *set(FEATURES) - {"paper-metrics", "test", "dev"})


def test_every_file_of_the_packages_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith(PACKAGES) and ".dist-info" not in name}
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert held == {name for name in listed if (ROOT / name).is_file()}
    assert {"aid_kernels/py.typed", "aid_pipeline/py.typed", "aid_pipeline/miniature/model/model_index.json"} <= held


def run(wheel: Path, folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """A script in an interpreter that sees the unpacked wheel, not this tree."""
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site, [name for name in archive.namelist() if "/model/" not in name])
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_PIPELINE + script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_operator_runs_without_the_extra(wheel: Path, tmp_path: Path) -> None:
    done = run(wheel, tmp_path, OPERATOR)
    assert done.returncode == 0, done.stderr


def test_the_command_says_in_one_line_what_to_install(wheel: Path, tmp_path: Path) -> None:
    done = run(wheel, tmp_path, COMMAND)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'aid-kernels[pipeline]'" in done.stderr


def test_python_says_what_to_install(wheel: Path, tmp_path: Path) -> None:
    done = run(wheel, tmp_path, PYTHON_API)
    assert "aid-kernels[pipeline]" in done.stdout, done.stderr

"""The kernel-hub repository: its layout, and that the hub's own library loads it beside the installed package."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import aid_kernels
from aid_kernels import INTERPRET_VARIABLE
from tools.hub.__main__ import main
from tools.hub.layout import BACKENDS, LOCAL, ROOT, build, build_toml, lay_out

PACKAGE = Path(aid_kernels.__file__).parent


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hub") / "repository"
    assert main([str(out), "--build"]) == 0
    return out


@pytest.fixture(scope="module")
def loaded(repository: Path) -> ModuleType:
    """The kernel as the hub's library loads it; the package itself is imported already."""
    kernels = pytest.importorskip("kernels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_KERNELS", f"{LOCAL}={repository}")
        module: ModuleType = kernels.get_kernel(LOCAL, version=0, backend="cpu")
        return module


def test_what_kernel_builder_asks_for(repository: Path) -> None:
    content = tomllib.loads((repository / "build.toml").read_text())
    general = content["general"]
    assert (general["name"], general["edition"]) == ("aid-kernels", 5)
    assert general["version"] == int(aid_kernels.__version__.partition(".")[0])
    assert content["torch-noarch"].keys() == {"pyext"}
    assert general["hub"]["repo-id"] == LOCAL
    assert all((repository / name).is_file() for name in ("CARD.md", "LICENSE", "flake.nix", "example.py"))
    assert not (repository / "__init__.py").exists()
    assert list((repository / "benchmarks").glob("benchmark*.py"))
    marks = [path.read_text().count("@pytest.mark.kernels_ci") for path in (repository / "tests").glob("test_*.py")]
    assert marks
    assert all(marks)


def test_the_package_is_there_whole(repository: Path) -> None:
    copied = repository / "torch-ext" / "aid_kernels"
    files = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {path.relative_to(copied) for path in copied.rglob("*") if path.is_file()} == files
    assert all((copied / file).read_bytes() == (PACKAGE / file).read_bytes() for file in files)


def test_imports_are_torch_triton_the_standard_library_or_relative() -> None:
    allowed = {*sys.stdlib_module_names, "torch", "triton"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert {name.partition(".")[0] for name in names} <= allowed, path


def test_the_card_names_what_the_package_has(repository: Path) -> None:
    card = (repository / "CARD.md").read_text()
    assert set(re.findall(r"aid_kernels\.(\w+)", card)) <= set(aid_kernels.__all__)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Needs Python {project['requires-python'].removeprefix('>=')} and PyTorch" in card
    torch_floor, triton_floor = (
        next(re.findall(rf"^{name}>=([\d.]+)", line)[0] for line in project["dependencies"] if line.startswith(name))
        for name in ("torch", "triton")
    )
    assert f"PyTorch {torch_floor};" in card
    assert f"Triton {triton_floor} " in card


def test_a_second_call_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    lay_out(tmp_path)
    stale = [tmp_path / "torch-ext" / "aid_kernels" / "gone.py", tmp_path / "tests" / "test_gone.py"]
    for path in stale:
        path.write_text("")
    (tmp_path / ".git").mkdir()
    lay_out(tmp_path, "someone/aid-kernels")
    assert not any(path.exists() for path in stale)
    assert (tmp_path / ".git").is_dir()
    assert (tmp_path / "build.toml").read_text() == build_toml("someone/aid-kernels")


@pytest.mark.parametrize("content", ["notes", '[general]\nname = "another"\n'])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, content: str, capsys: Any) -> None:
    (tmp_path / "build.toml").write_text(content)
    assert main([str(tmp_path)]) == 2
    assert "something other than this repository" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["build.toml"]


@pytest.mark.parametrize("repo_id", ["aid-kernels", "a/b/c", 'a/"b', ""])
def test_a_repository_is_owner_and_name(tmp_path: Path, repo_id: str) -> None:
    with pytest.raises(ValueError, match="owner/name"):
        lay_out(tmp_path / "out", repo_id)
    assert not (tmp_path / "out").exists()


def test_a_changed_package_is_another_module(tmp_path: Path) -> None:
    def identities() -> list[str]:
        return [json.loads((variant / "metadata.json").read_text())["id"] for variant in build(tmp_path)]

    lay_out(tmp_path)
    before = identities()
    assert before == identities()
    assert len(set(before)) == len(BACKENDS)
    assert all(identity.isidentifier() for identity in before)
    with (tmp_path / "torch-ext" / "aid_kernels" / "version.py").open("a") as file:
        file.write("# changed\n")
    assert not set(before) & set(identities())


def test_the_hub_library_reads_configuration_and_metadata(repository: Path) -> None:
    rust = pytest.importorskip("kernels._rust")
    rust.Build.open(repository)  # refuses an unknown field or a wrong type
    for backend in BACKENDS:
        variant = repository / "build" / f"torch-{backend}"
        metadata = rust.Metadata.read_from_file(variant / "metadata.json")
        assert metadata.name.python_name == "aid_kernels"
        found = rust.Digest.hash_variant(rust.DigestAlgorithm.SHA256, variant)
        written = json.loads((variant / "metadata.json").read_text())["digest"]["files"]
        assert dict(found.files) == written


@pytest.mark.parametrize("impl", ["auto", "sdpa", "triton", "reference"])
@pytest.mark.parametrize("mode", aid_kernels.MODES)
def test_loaded_beside_the_installed_package(loaded: ModuleType, repository: Path, mode: str, impl: str) -> None:
    assert Path(loaded.__file__ or "").is_relative_to(repository)
    assert loaded.InterpolationPlan is not aid_kernels.InterpolationPlan
    torch.manual_seed(0)
    given = [torch.randn(3, 2, 37, 40, requires_grad=impl == "auto") for _ in range(3)]

    def results(package: ModuleType) -> list[Tensor]:
        op, plan = getattr(package, f"{mode}_attention"), package.InterpolationPlan.sequence([0, 0.3, 1])
        out = op(*given, plan, impl=impl)
        return [out, *torch.autograd.grad(out.square().sum(), given)] if impl == "auto" else [out]

    found, expected = results(loaded), results(aid_kernels)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    own = getattr(torch.ops, loaded.__name__)
    assert getattr(own, f"{mode}_attention") is not getattr(torch.ops.aid_kernels, f"{mode}_attention")


def test_compiled_beside_the_installed_package(loaded: ModuleType) -> None:
    calls = [
        (package.outer_attention, package.InterpolationPlan.sequence([0, 0.3, 1])) for package in (loaded, aid_kernels)
    ]
    given = [torch.randn(3, 2, 5, 8) for _ in range(3)]
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda *parts: [op(*parts, plan) for op, plan in calls], backend="aot_eager", fullgraph=True
    )
    assert torch.equal(*compiled(*given))


@pytest.mark.slow
def test_its_own_tests_pass(repository: Path) -> None:
    pytest.importorskip("kernels")
    environment = {**os.environ, "LOCAL_KERNELS": f"{LOCAL}={repository}", "PYTHONPATH": "", INTERPRET_VARIABLE: "0"}
    command = [sys.executable, "-m", "pytest", "tests", "-q", "-m", "kernels_ci", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)
    assert "skipped" not in done.stdout


def test_benchmarks_compute_what_they_are_compared_with(loaded: ModuleType, repository: Path) -> None:
    path = next((repository / "benchmarks").glob("benchmark*.py"))
    spec = importlib.util.spec_from_file_location("hub_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SHAPES = dict.fromkeys(module.SHAPES, (2, 33, 17, 40))
    workloads = [name.removeprefix("benchmark_") for name in vars(module.InterpolatedAttention) if "benchmark_" in name]
    assert len(workloads) >= 4
    for name in workloads:
        instance = module.InterpolatedAttention()
        instance.kernel = loaded
        getattr(instance, f"setup_{name}")()
        getattr(instance, f"benchmark_{name}")()
        torch.testing.assert_close(instance.out, getattr(instance, f"verify_{name}")())

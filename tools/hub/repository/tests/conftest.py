"""The loaded kernel and the device to run it on."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import ModuleType

import kernels
import pytest
import torch


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "kernels_ci: mark a test as a kernel CI test")


@pytest.fixture(scope="session")
def kernel() -> ModuleType:
    general = tomllib.loads((Path(__file__).parents[1] / "build.toml").read_text("utf-8"))["general"]
    module: ModuleType = kernels.get_kernel(general["hub"]["repo-id"], version=general["version"])
    return module


@pytest.fixture(scope="session")
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

"""Models and finished sequences of the command line."""

from pathlib import Path

import pytest

from ..support.command_line import aid, command
from ..support.families import FAMILIES


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    """A model folder on disk."""
    folder = tmp_path_factory.mktemp("model")
    FAMILIES["sd1"].fresh().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def finished(model, tmp_path_factory) -> Path:
    """A finished sequence of the command line; leave it as it is."""
    out = tmp_path_factory.mktemp("sequences") / "finished"
    assert aid(*command(model, out, "--no-video")).exit_code == 0
    return out

"""What README and docs name is there: files, links, commands, and every public name in the API reference."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + [*ROOT.glob("docs/**/*.md")])
FOLDERS = (
    "aid_kernels",
    "aid_pipeline",
    "benchmarks",
    "docs",
    "examples",
    "scripts",
    "tests",
    "tools",
    ".ci",
    ".github",
)
PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*[\w/]")
LINK = re.compile(r"\]\(([^)\s#]+)")
COMMAND = re.compile(r"python -m ((?:aid_kernels|aid_pipeline|benchmarks|tools)[\w.]*)")


def test_a_path_is_recognised() -> None:
    text = "see `aid_pipeline/spec.py`, (aid_kernels/configs). ../benchmarks/x `scripts/test.sh --fast` runs/first"
    assert PATH.findall(text) == ["aid_pipeline/spec.py", "aid_kernels/configs", "scripts/test.sh"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_exists(page: Path) -> None:
    named = PATH.findall(page.read_text())
    missing = [name for name in named if not name.endswith("/NAME") and not (ROOT / name).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    missing = [link for link in targets if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_a_module(page: Path) -> None:
    named = {name for name in COMMAND.findall(page.read_text()) if name != "benchmarks.NAME"}
    missing = [name for name in named if find_spec(name) is None]
    assert not missing


def test_every_public_name_is_in_the_reference() -> None:
    lines = [line for page in ROOT.glob("docs/api/*.md") for line in page.read_text().splitlines()]
    entries = [line for line in lines if re.match(r":::|\s+- |\s+members: ", line)]
    listed = set(re.findall(r"\w+", "\n".join(entries)))
    public = {name for package in ("aid_kernels", "aid_pipeline") for name in import_module(package).__all__}
    assert public - {"__version__"} <= listed
    assert "::: aid_pipeline.metrics" in entries  # all of its names


def test_the_first_page_has_the_commands_of_a_fresh_machine() -> None:
    text = (ROOT / "README.md").read_text()
    assert "bash scripts/demo.sh" in text
    assert "bash scripts/test.sh" in text

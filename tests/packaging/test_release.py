"""What a release says of itself: one version everywhere, a citation that parses, scripts and workflows that fit."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from aid_kernels import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["project"]["license"]
    released = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[:2] == ["Unreleased", __version__]


def test_the_paper_is_what_to_cite() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    paper = citation["preferred-citation"]
    assert paper["title"] == "AID: Attention Interpolation of Text-to-Image Diffusion"
    assert [author["family-names"] for author in paper["authors"]] == ["He", "Wang", "Liu", "Yao"]
    assert paper["url"].endswith("2403.17924")
    assert citation["cff-version"] == "1.2.0"


def test_no_address_that_names_no_host() -> None:
    urls = PROJECT["project"].get("urls", {}).values()
    assert all(re.match(r"https://[\w-]+\.[\w.-]+/", url) for url in urls)


@pytest.mark.parametrize("form", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_forms_and_workflows_parse(form: Path) -> None:
    content = yaml.safe_load(form.read_text())
    if "ISSUE_TEMPLATE" in str(form) and form.stem != "config":
        assert {"name", "description", "body"} <= content.keys()
        names = [field["id"] for field in content["body"] if field["type"] != "markdown"]
        assert len(names) == len(set(names)) > 1


def test_the_workflow_runs_every_part_of_the_script() -> None:
    checks = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["checks"]
    assert [step["run"] for step in checks["steps"] if "run" in step] == ["bash .ci/run ${{ matrix.part }}"]
    done = subprocess.run(["bash", ".ci/run", "absent"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    parts = " ".join(checks["strategy"]["matrix"]["part"])
    assert f"parts are {parts}, and families on demand" in done.stderr


@pytest.mark.parametrize("script", ["demo.sh", "test.sh"])
def test_a_script_asks_for_extras_that_exist(script: str) -> None:
    (extras,) = re.findall(r"environment\.sh\" (\S+)", (ROOT / "scripts" / script).read_text())
    assert set(extras.split(",")) <= PROJECT["project"]["optional-dependencies"].keys()


def test_the_timeout_marker_needs_no_plugin() -> None:
    assert any(marker.startswith("timeout(") for marker in PROJECT["tool"]["pytest"]["ini_options"]["markers"])

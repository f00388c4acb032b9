"""Every example runs, with the miniature in the place of a larger model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FEW = ("--steps", "2")

# name, arguments, the images that it leaves in the folder "out"
RUNS = {
    "first_sequence.py": (("--out", "out", *FEW), 7),
    "sdxl.py": (("--miniature", "--out", "out", "--frames", "4", *FEW), 4),
    "own_pipeline.py": (("--out", "out", *FEW), 5),
    "operator_alone.py": ((), 0),
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "STEPS": "2", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_every_example_is_tried() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py") if path.name != "__init__.py"}
    assert scripts == RUNS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_script(name: str, tmp_path: Path) -> None:
    arguments, images = RUNS[name]
    done = run(tmp_path, str(EXAMPLES / name), *arguments)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("out/[0-9]*.png"))) == images
    assert (tmp_path / "out" / "sequence.gif").is_file() == (name == "sdxl.py")


def test_sdxl_needs_a_model_or_the_miniature(tmp_path: Path) -> None:
    done = run(tmp_path, str(EXAMPLES / "sdxl.py"))
    assert done.returncode == 2
    assert "--miniature" in done.stderr


def code_of(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebook_holds_no_outputs(notebook: Path) -> None:
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebook_runs_cell_by_cell(notebook: Path, tmp_path: Path) -> None:
    ending = "assert len(outer.images) == len(guided.images) == 7\nprint('all cells')"
    done = run(tmp_path, "-c", "\n\n".join([*code_of(notebook), ending]))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all cells\n")

"""The doctor on this machine and on a pretended GPU: measures, says what is wrong, fills the cache, writes one file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aid_kernels import Choice, explain, outer_attention
from aid_kernels.doctor import Shape, examine, page
from aid_kernels.doctor.__main__ import main
from aid_kernels.interpolated_attention.tuning import settled
from aid_kernels.interpolated_attention.tuning.measure import Measurement
from tests.kernels.tuning import pretended
from tests.kernels.tuning.pretended import arguments

SHAPES = (Shape("tiny, self", 2, 48, 48, 16), Shape("tiny, cross", 2, 48, 20, 16, ("outer",)))
CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AID_KERNELS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    settled.forget()
    yield tmp_path / "cache"  # type: ignore[misc]
    settled.forget()


def test_the_cpu_routes_are_measured_and_followed(cache: Path) -> None:
    found = examine(SHAPES, CPU, torch.float32)
    assert [(row.shape.layer, row.mode) for row in found.rows] == [
        ("tiny, self", "outer"),
        ("tiny, self", "inner"),
        ("tiny, cross", "outer"),
    ]
    for row in found.rows:
        assert row.measurement is not None
        assert all(outcome.fault is None and outcome.milliseconds for outcome in row.measurement.outcomes)
        assert row.stock_ms
    assert len(list(cache.rglob("*.json"))) == 3
    call = arguments()
    kept = found.rows[0].measurement
    assert explain(**call).choice == kept.choice
    # whichever was faster: the cache decides, not the rule
    other = next(outcome.choice for outcome in kept.outcomes if outcome.choice != kept.choice)
    path = next(path for path in cache.rglob("outer*48x48*.json"))
    document = json.loads(path.read_text())
    document["measurement"]["choice"] = other.to_json()
    path.write_text(json.dumps(document))
    settled.forget()
    outer_attention(**call)
    assert explain(**call).choice == other


def test_the_page_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = pretended.install(monkeypatch, str(tmp_path))
    machine.behaviour = pretended.lies
    text = page(examine(SHAPES[:1], CPU, torch.float32))
    assert "tiny, self, outer: triton" in text
    assert "is not used: it disagrees with the reference" in text
    machine.behaviour = pretended.honest
    machine.milliseconds = lambda choice: 3.0 if choice.implementation == "triton" else 2.0
    text = page(examine(SHAPES[:1], CPU, torch.float32))
    assert "the kernel takes 1.50 of what is kept" in text
    settled.forget()


def test_shapes_past_the_deadline_are_named(cache: Path) -> None:
    found = examine(SHAPES, CPU, torch.float32, deadline=-1.0)
    assert found.rows == []
    assert "Not reached in time" in page(found)
    assert "tiny, cross, outer" in page(found)


def test_the_command_writes_one_file(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--model", "miniature", "--out", str(tmp_path / "report.json")])
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["machine"]["torch"] == torch.__version__
    assert "miniature, self" in capsys.readouterr().out
    for row in document["rows"]:
        assert Measurement.from_json(row["measurement"]).choice == Choice.from_json(row["measurement"]["choice"])
    assert document["page"]


def test_the_command_needs_torch_alone() -> None:
    code = (
        "import sys; import aid_kernels.doctor.__main__; "
        "assert not {'diffusers', 'transformers', 'typer', 'rich', 'triton'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

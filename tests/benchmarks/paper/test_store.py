"""What a comparison keeps: a file a pair while it runs, one archive when it is done."""

import pytest
import torch

from aid_pipeline.errors import OutputFolderError
from benchmarks.paper.archive import ARCHIVE, write_archive
from benchmarks.paper.pairs import Pair
from benchmarks.paper.store import Store

from .drawn import drawn_units


def test_a_unit_comes_back_as_it_was(tmp_path):
    settings = {"frames": 4}
    store = Store(tmp_path / "new", settings, "drawn")
    unit = drawn_units(1, 0.5)[0]
    assert store.read(unit.pair).missing(["tei"]) == ["tei"]
    store.write(unit)
    again = Store(tmp_path / "new", settings, "drawn").read(unit.pair)
    assert again.steps == unit.steps
    assert torch.equal(again.endpoints, unit.endpoints)
    assert torch.equal(again.interior["aid-o"], unit.interior["aid-o"])
    with pytest.raises(OutputFolderError, match="another pair"):
        store.read(Pair(0, 0, "a", "other", 0))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OutputFolderError, match="not empty"):
        Store(tmp_path / "mine", settings, "drawn")


def test_an_archive_stands_for_the_units(tmp_path):
    """Distances as they were, features to half a step of their column's range; what is made later stands beside it."""
    settings, units = {"frames": 4}, drawn_units(5, 0.5)
    features = torch.cat([part for unit in units for part in (unit.endpoints, *unit.interior.values())])
    step = (features.amax(0) - features.amin(0)) / (2**16 - 2)
    Store(tmp_path, settings, "drawn")
    write_archive(tmp_path, units)
    store = Store(tmp_path, settings, "drawn")
    assert store.names() == [unit.pair.name for unit in units]
    for unit in units:
        again = store.read(unit.pair)
        assert again.steps == unit.steps
        for name, before in unit.interior.items():
            assert ((again.interior[name] - before).abs() <= 0.51 * step).all()
        assert ((again.endpoints - unit.endpoints).abs() <= 0.51 * step).all()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 8192
    with pytest.raises(OutputFolderError, match="another pair"):
        store.read(Pair(0, 0, "a", "other", 0))
    later = drawn_units(6, 0.5)[-1]
    store.write(later)
    assert len(Store(tmp_path, settings, "drawn").names()) == 6


def test_only_what_is_finished_is_archived(tmp_path):
    units = drawn_units(3, 0.5)
    del units[1].steps["tei"]
    with pytest.raises(OutputFolderError, match="0-0001 lack a method"):
        write_archive(tmp_path, units)
    assert not (tmp_path / ARCHIVE).exists()

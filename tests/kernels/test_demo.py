"""The demonstration shows every implementation, or says why it cannot."""

import pytest

from aid_kernels import IMPLEMENTATIONS, demo


@pytest.mark.parametrize("mode", demo.OPS)
def test_table_names_every_implementation(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)  # its interpreter is no demonstration
    monkeypatch.setitem(demo.SHAPES, "cpu", (2, 16, 8, demo.SHAPES["cpu"][3]))
    monkeypatch.setattr(demo, "FRAMES", 3)
    rows = {line.split()[0]: line for line in demo.table(mode, "cpu").splitlines()[2:]}
    assert rows.keys() == set(IMPLEMENTATIONS)
    assert "cannot run here" in rows["triton"]
    for name in ("sdpa", "reference"):
        error = float(rows[name].split()[1])
        assert 0 < error < 1e-5
    assert "auto" in rows["sdpa"]

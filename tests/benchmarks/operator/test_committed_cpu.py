"""The committed CPU table: `auto`, which is `sdpa` there, is never slower than a peer by more than 3 %."""

from __future__ import annotations

import json

from benchmarks.common.result_files import CPU

RESULT = json.loads((CPU / "operator.json").read_text())


def ratios(**wanted: object) -> list[float]:
    """How many times faster than each peer, over the cases that have these fields."""
    cases = [entry for entry in RESULT["cases"] if all(entry["case"][name] == value for name, value in wanted.items())]
    return [row["sdpa_is_faster_by"] for entry in cases for row in entry["rows"] if row["peer"] != "sdpa"]


def test_no_peer_is_faster_anywhere_in_the_committed_table() -> None:
    for mode in ("outer", "inner"):
        for dtype in ("float32", "bfloat16"):
            for keys in (77, 1024):
                found = ratios(mode=mode, dtype=dtype, key_length=keys)
                assert found, (mode, dtype, keys)
                assert min(found) >= 0.97, (mode, dtype, keys, found)


def test_outer_attention_keeps_its_lead_over_concatenated_keys() -> None:
    assert min(ratios(mode="outer", dtype="float32", frames=7, query_length=1024, key_length=1024)) >= 1.5

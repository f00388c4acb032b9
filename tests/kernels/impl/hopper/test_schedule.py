"""Schedule of the Hopper kernel, emulated: no hazard and right results, in whatever order warps and copies go on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aid_kernels.interpolated_attention.impl.hopper import attend
from tests.testing import Case, bundled, oracle, tolerance

from .emulation import emulate
from .memory import ScheduleError

WIDE, NARROW = Case(head_dim=128, heads=1, dtype=torch.float16), Case(head_dim=64, heads=2, dtype=torch.bfloat16)
# four blocks of own keys, three of a source's: every buffer is used again
LONG = NARROW.but(heads=1, query_length=130, key_length=500, bank=(3, 300))
ONE_SOURCE = dict(weights=((0.0,), (1.0,)), sources=((0,), (1,)))
CASES = [
    NARROW,
    NARROW.but(fuse_self=False),
    LONG,
    WIDE.but(query_length=150, key_length=260),
    WIDE.but(fuse_self=False, key_length=256, bank=(3, 77), layout="transposed"),
    # one source; sources of weight zero; a plan without any
    WIDE.but(**ONE_SOURCE),
    NARROW.but(weights=((0.0, 1.0), (1.0, 0.0)), sources=((0, 1), (1, 0)), fuse_self=False),
    WIDE.but(weights=((), ()), sources=((), ())),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_results_are_right_in_any_order(case: Case, seed: int) -> None:
    arguments = case.inputs()
    out = emulate(bundled(arguments), seed)
    assert (out.double() - oracle("outer", arguments)).abs().max() <= tolerance("outer", arguments)


def test_what_a_weightless_source_holds_does_not_matter() -> None:
    arguments = NARROW.but(weights=((0.0, 1.0), (1.0, 0.0)), sources=((0, 1), (0, 1)), fuse_self=False).inputs()
    expected = emulate(bundled(arguments))
    arguments["k"][0], arguments["v"][0] = torch.nan, torch.inf
    out = emulate(bundled(arguments))
    assert torch.equal(out[0], expected[0])


# changes of the source, each a fault of its own kind
FAULTS = {
    "a copy does not wait for the keys' readers": ("wait_until_free(k_empty, turn, BUFFERS)", "pass"),
    "a copy does not wait for the values' readers": ("wait_until_free(v_empty, turn, BUFFERS)", "pass"),
    "the wrong phase at the first use": ("((turn // BUFFERS) & 1) ^ 1", "(turn // BUFFERS) & 1"),
    "a phase that never turns": ("mbarrier.wait(barriers.index(turn % BUFFERS), (turn // BUFFERS) & 1)",
                                 "mbarrier.wait(barriers.index(turn % BUFFERS), 0)"),
    "values read before they are there": ("wait_for(v_full, before, BUFFERS)", "pass"),
    "keys read before they are there": ("    wait_for(k_full, turn, BUFFERS)\n    k =", "    k ="),
    "queries read before they are there": ("mbarrier.wait(q_full.index(half), 0)", "pass"),
    "keys given back twice": ("mbarrier.arrive(k_empty.index(turn % BUFFERS), count=1)",
                              "mbarrier.arrive(k_empty.index(turn % BUFFERS), count=2)"),
    "values never given back": ("mbarrier.arrive(v_empty.index(turn % BUFFERS), count=1)", "pass"),
    "values given back while read": ("        logits = warpgroup_mma_wait(1, deps=(logits,))\n",
        "        logits = warpgroup_mma_wait(1, deps=(logits,))\n"
        "        mbarrier.arrive(v_empty.index(before % BUFFERS), count=1)\n"),
    "logits taken before they are there": ("warpgroup_mma_wait(1, deps=(logits,))",
                                           "warpgroup_mma_wait(2, deps=(logits,))"),
    "sums taken before they are there": ("acc, p = warpgroup_mma_wait(0, deps=(acc, p))",
                                         "acc, p = warpgroup_mma_wait(1, deps=(acc, p))"),
    "a barrier for one reader": ("mbarrier.init(k_empty.index(buffer), count=2)",
                                 "mbarrier.init(k_empty.index(buffer), count=1)"),
    "bytes nobody copies": ("mbarrier.expect(k_full.index(buffer), keys.block_type.nbytes)",
                            "mbarrier.expect(k_full.index(buffer), 2 * keys.block_type.nbytes)"),
    "one segment too few": ("for term in gl.static_range(TERMS):\n        turn = load",
                            "for term in gl.static_range(1):\n        turn = load"),
    "no fence before the copy out": ("    fence_async_shared()\n    copy_out(", "    copy_out("),
    "no fence after the barriers": ("    fence_async_shared()\n\n    gl.warp_specialize", "    gl.warp_specialize"),
}  # fmt: skip
WRONG_RESULTS = {
    "sources in another order": ("bank_key, bank_value, entries[term]", "bank_key, bank_value, entries[-1 - term]"),
    "blocks in another order": ("first = (blocks - 1 - back) * BLOCK_N", "first = back * BLOCK_N"),
    "no bound on the last block": ("    if not EVEN:\n        positions", "    if False:\n        positions"),
    "an accumulator not rescaled": ("        acc = acc * gl.convert_layout(alpha, ROWS)[:, None]\n        p = p_next",
                                    "        p = p_next"),
    "a term from the last one's state": ("        m_t = m_i\n", "        m_t = m_i if term == 0 else m_t\n"),
}  # fmt: skip


def changed(change: tuple[str, str], folder: Path) -> Path:
    """The kernel's source with the first place of a text replaced."""
    before, after = change
    text = Path(attend.__file__).read_text()
    assert before in text
    path = folder / "changed_attend.py"
    path.write_text(text.replace(before, after, 1))
    return path


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_schedule_is_found(fault: str, tmp_path: Path) -> None:
    source, inputs = changed(FAULTS[fault], tmp_path), bundled(LONG.inputs())
    with pytest.raises(ScheduleError):
        emulate(inputs, 0, source)


@pytest.mark.parametrize("fault", WRONG_RESULTS)
def test_a_fault_of_the_mathematics_is_found(fault: str, tmp_path: Path) -> None:
    arguments = LONG.inputs()
    out = emulate(bundled(arguments), 0, changed(WRONG_RESULTS[fault], tmp_path))
    assert not (out.double() - oracle("outer", arguments)).abs().max() <= tolerance("outer", arguments)

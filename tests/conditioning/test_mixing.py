"""Every frame's rows, from what an encoder returns for each text alone and for all of them together."""

import pytest
import torch

from aid_pipeline.conditioning.mixing import FrameRows, Mixer, TextShares
from aid_pipeline.errors import UnsupportedPipelineError

T = (0.0, 0.25, 0.5, 1.0)
SHARES = TextShares(T, first=0, last=1, guides={}, same_negative=(0, 1))


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


FIRST, LAST = random(1, 3, 8), random(1, 3, 8, seed=1)


def mixed(alone, together, shares=SHARES):
    return Mixer(shares).mix(alone, together, len(alone))


def test_rows_are_lerped_and_the_endpoints_are_exact():
    rows = mixed([FIRST, LAST], torch.cat([FIRST, LAST]))
    assert torch.equal(rows[0], FIRST[0])
    assert torch.equal(rows[-1], LAST[0])
    torch.testing.assert_close(rows[1:3], torch.cat([0.75 * FIRST + 0.25 * LAST, 0.5 * FIRST + 0.5 * LAST]))


def test_half_precision_is_lerped_in_single():
    rows = mixed([FIRST.half(), LAST.half()], torch.cat([FIRST, LAST]).half())
    assert torch.equal(rows[1:2], torch.lerp(FIRST.half().float(), LAST.half().float(), 0.25).half())


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float32], ids=str)
def test_a_token_that_either_mask_shows_is_visible(dtype):
    first, last = (torch.tensor([row]).to(dtype) for row in ([1, 0, 0], [0, 0, 1]))
    rows = mixed([first, last], torch.cat([first, last]))
    assert rows.int().tolist() == [[1, 0, 0], [1, 0, 1], [1, 0, 1], [0, 0, 1]]


def test_rows_on_another_axis():
    """Layers of a text encoder come first."""
    first, last = random(5, 1, 3, 8), random(5, 1, 3, 8, seed=1)
    rows = mixed([first, last], torch.cat([first, last], dim=1))
    assert rows.shape == (5, 4, 3, 8)
    assert torch.equal(rows[:, :1], first)
    torch.testing.assert_close(rows[:, 2:3], (first + last) / 2)


def test_several_rows_of_a_prompt():
    """Negative rows in front of conditional ones, in one tensor."""
    first, last = random(2, 3, 8), random(2, 3, 8, seed=1)
    together = torch.stack([first, last], dim=1).flatten(0, 1)
    rows = mixed([first, last], together)
    assert torch.equal(rows[[0, 4]], first)
    assert torch.equal(rows[[3, 7]], last)


def test_lists_with_an_entry_for_every_prompt():
    """Of different lengths; the shorter one continues with zeros."""
    first, last = random(2, 8), random(3, 8, seed=1)
    rows = mixed([[first], [last]], [first, last])
    assert [len(row) for row in rows] == [2, 3, 3, 3]
    assert torch.equal(rows[0], first)
    assert torch.equal(rows[3], last)
    torch.testing.assert_close(rows[2], (torch.cat([first, torch.zeros(1, 8)]) + last) / 2)
    with pytest.raises(UnsupportedPipelineError, match="str for every prompt"):
        mixed([["a"], ["b"]], ["a", "b"])


def test_lengths_of_packed_texts():
    rows = mixed([torch.tensor([0, 4]), torch.tensor([0, 6])], torch.tensor([0, 4, 10]))
    assert rows.tolist() == [0, 4, 10, 16, 22]


def test_prompts_that_the_pipeline_pads_to_the_longest():
    together = torch.cat([torch.cat([FIRST, torch.zeros(1, 2, 8)], dim=1), random(1, 5, 8, seed=1)])
    assert torch.equal(mixed([FIRST, random(1, 5, 8, seed=1)], together)[[0, 3]], together)


def test_a_mask_that_is_left_out_where_it_hides_nothing():
    together = torch.tensor([[1, 1, 0], [1, 1, 1]]).bool()
    assert mixed([None, None], together)[[0, 3]].equal(together)


def test_what_all_prompts_share_and_nested_values():
    ids = torch.zeros(3, 2)
    rows = mixed([(FIRST, ids, {"a": None}), (LAST, ids, {"a": None})], (torch.cat([FIRST, LAST]), ids, {"a": None}))
    assert isinstance(rows, tuple)
    assert len(rows[0]) == 4
    assert rows[1] is ids
    assert rows[2] == {"a": None}


def test_rows_that_are_not_the_prompts():
    with pytest.raises(UnsupportedPipelineError, match="rows are not the prompts"):
        mixed([random(2, 8), random(2, 8)], random(3, 9))


def test_guides_are_the_interior_frames_of_what_depends_on_the_prompt():
    guide = random(1, 3, 8, seed=2)
    shares = TextShares(T, first=0, last=2, guides={1: 1, 2: 1}, same_negative=(0, 1))
    rows = mixed([FIRST, guide, LAST], torch.cat([FIRST, guide, LAST]), shares)
    assert torch.equal(rows, torch.cat([FIRST, guide, guide, LAST]))
    negative = mixed([FIRST, FIRST, LAST], torch.cat([FIRST, FIRST, LAST]), shares)
    torch.testing.assert_close(negative[2:3], (FIRST + LAST) / 2)


def test_equal_rows_of_a_negative_prompt_take_the_memory_of_one():
    rows = FrameRows([FIRST, FIRST], SHARES).rows()
    assert rows.shape[0] == 4
    assert rows.stride(0) == 0


def test_a_prompt_that_switches_between_steps():
    shares = TextShares(T, first=0, last=1, guides={}, same_negative=(0, 1), prompts=(0.0, 0.0, 0.0, 1.0))
    rows = FrameRows([FIRST, LAST], shares)
    assert torch.equal(rows.rows(), torch.cat([FIRST, FIRST, FIRST, LAST]))
    assert torch.equal(rows.rows((0, 1, 1, 1)), torch.cat([FIRST, LAST, LAST, LAST]))

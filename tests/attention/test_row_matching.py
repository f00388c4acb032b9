"""Rows of the frames in a denoiser call, found by value."""

import pytest
import torch

from aid_kernels import InterpolationPlan
from aid_pipeline import Frames
from aid_pipeline.attention.row_matching import FrameFinder, find_rows

EMBEDS = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0))
OTHER = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(1))


def frames(embeds=EMBEDS, **fields):
    return Frames(InterpolationPlan.sequence([0.0, 0.3, 1.0]), embeds, **{"num_steps": 4} | fields)


def test_blocks_equal_to_the_expected_rows():
    both = torch.cat([OTHER, EMBEDS, EMBEDS])
    assert find_rows(both, EMBEDS) == [3, 6]
    assert find_rows(both.half(), EMBEDS) == [3, 6]
    assert find_rows(both[1:], EMBEDS) == []  # no whole number of blocks
    assert find_rows(both[..., :4], EMBEDS) == []


@pytest.mark.parametrize(
    ("blocks", "start"),
    [
        ([OTHER, EMBEDS], 3),
        ([EMBEDS, OTHER], 0),
        ([EMBEDS], 0),
        ([OTHER], None),
        ([OTHER, EMBEDS, OTHER], 3),
        ([OTHER, OTHER], None),
    ],
    ids=["uncond-cond", "cond-uncond", "cond", "uncond", "three", "strangers"],
)
def test_rows_are_found_by_value(blocks, start):
    assert FrameFinder(frames()).find(torch.cat(blocks), first_step=True) == start


def test_rows_are_found_in_the_pipelines_dtype():
    half = torch.cat([OTHER, EMBEDS]).half()
    assert FrameFinder(frames()).find(half, first_step=True) == 3
    assert FrameFinder(frames(EMBEDS.half())).find(half, first_step=True) == 3


def test_embeddings_may_be_made_when_they_are_needed():
    finder = FrameFinder(frames(lambda: EMBEDS.clone()))
    assert finder.find(torch.cat([OTHER, EMBEDS]), first_step=True) == 3


def test_equal_prompts_are_still_frames():
    same = EMBEDS[:1].expand(3, -1, -1)
    assert FrameFinder(frames(same)).find(torch.cat([OTHER, same]), first_step=True) == 3


def test_another_run_may_have_other_tensors():
    finder = FrameFinder(frames())
    for _ in range(2):
        finder.start_run()
        assert finder.find(EMBEDS.clone(), first_step=True) == 0


def test_known_embeddings_are_not_compared_again(monkeypatch):
    finder, both = FrameFinder(frames()), torch.cat([OTHER, EMBEDS])
    views = [both, both[:], both.view_as(both)]
    assert finder.find(both, first_step=True) == 3
    monkeypatch.setattr(torch, "equal", None)
    assert [finder.find(view, first_step=False) for view in views] == [3, 3, 3]
    monkeypatch.undo()
    both[3:] = 0  # changed in place: it is another content now
    assert finder.find(both, first_step=False) is None


def test_images_of_a_prompt_are_sequences_of_their_own():
    """Row i * 2 + k is image k of frame i, behind three unconditional rows per image."""
    plan = FrameFinder(frames(num_images_per_prompt=2)).plan(6, 12, torch.device("cpu"))
    assert plan.host_weights[:8].count_nonzero() == 0
    assert plan.host_sources[8:10].tolist() == [[6, 10], [7, 11]]
    torch.testing.assert_close(plan.host_weights[8:10], torch.tensor([[0.7, 0.3], [0.7, 0.3]]))
    assert plan.host_weights[10:].count_nonzero() == 0


def test_rows_in_a_list_of_a_tensor_for_each():
    """Z-Image's texts, of different lengths."""
    rows = [torch.randn(length, 8, generator=torch.Generator().manual_seed(length)) for length in (2, 3, 3)]
    other = [row + 1 for row in rows]
    finder = FrameFinder(frames(rows))
    assert finder.find([*rows, *other], first_step=True) == 0
    assert find_rows([*other, *rows], rows) == [3]
    padded = torch.stack([torch.cat([row, row.new_zeros(5 - len(row), 8)]) for row in rows])
    assert find_rows(torch.cat([padded, padded + 1]), rows) == [0]
    assert find_rows(padded + 1, rows) == []


def test_rows_in_another_argument():
    """Wherever the first call has them; then in that argument, whatever it holds."""
    finder = FrameFinder(frames())
    call = {"x": torch.zeros(6, 1), "cap": torch.cat([OTHER, EMBEDS]), "more": {"pooled": torch.zeros(6, 8)}}
    assert finder.find(finder.embeddings_in(call), first_step=True) == 3
    changed = call | {"cap": torch.cat([OTHER, EMBEDS]) * 2}
    assert finder.embeddings_in(changed) is changed["cap"]
    assert finder.find(finder.embeddings_in(changed), first_step=False) == 3
    nested = FrameFinder(frames())
    call = {"x": torch.zeros(3, 1), "encoder_hidden_states": OTHER, "more": {"text": EMBEDS[:, None]}}
    assert nested.find(nested.embeddings_in(call), first_step=True) == 0
    nowhere = FrameFinder(frames())
    assert nowhere.find(nowhere.embeddings_in({"x": torch.zeros(3, 1)}), first_step=True) is None

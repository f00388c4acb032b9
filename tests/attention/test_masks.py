"""Attention masks of diffusers: which values and shapes are taken, and for what."""

import pytest
import torch

from aid_pipeline.attention.masks import MaskChecker, check_mask_values, operator_mask
from aid_pipeline.errors import UnsupportedAttentionError

QUERY, KEY = torch.zeros(2, 3, 4, 8), torch.zeros(2, 3, 5, 8)


def test_masks_of_keys_and_biases_are_told_apart():
    assert not check_mask_values("m", torch.tensor([[1, 1, 0]]))
    assert not check_mask_values("m", torch.tensor([[True, False]]))
    assert not check_mask_values("m", torch.tensor([[[0.0, -10000.0]]]))
    assert not check_mask_values("m", torch.tensor([[[0.0, -torch.inf]]]))
    assert check_mask_values("m", torch.tensor([[[0.0, -1.5]]]))
    with pytest.raises(UnsupportedAttentionError, match=r"0\.5.*additive"):
        check_mask_values("m", torch.tensor([[1.0, 0.5]]))
    with pytest.raises(UnsupportedAttentionError, match="every key of row 1"):
        check_mask_values("m", torch.tensor([[1, 0], [0, 0]]))


def test_only_frames_must_see_something():
    """Kandinsky 3 masks its unconditional rows wholly."""
    mask = torch.tensor([[0, 0], [1, 0], [1, 1]])
    assert check_mask_values("m", mask, slice(1, 3))
    with pytest.raises(UnsupportedAttentionError, match="every key of row 0"):
        check_mask_values("m", mask, slice(0, 2))


def test_masks_are_found_among_arguments_and_checked_once(monkeypatch):
    mask, checker = torch.tensor([[1, 1, 0]]), MaskChecker()
    call = {"sample": torch.zeros(1, 3), "added": {"attention_mask": mask}, "encoder_attention_mask": None}
    assert not checker.check(call)
    monkeypatch.setattr("aid_pipeline.attention.masks.check_mask_values", None)
    assert not checker.check(call)
    monkeypatch.undo()
    with pytest.raises(UnsupportedAttentionError, match="encoder_attention_mask"):
        checker.check(call | {"encoder_attention_mask": mask * 0.5})
    assert checker.check({"sample": torch.zeros(1, 3)})  # where layers' masks come from is not known


def test_masks_of_keys_become_masks_of_keys():
    visible = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 0, 1, 1]]).bool()
    additive = torch.zeros(2, 1, 1, 5).masked_fill(~visible[:, None, None], -10000.0)
    for mask in (visible[:, None, None], additive, additive.expand(2, 3, 4, 5)):
        assert torch.equal(operator_mask(mask, QUERY, KEY), visible)
    assert torch.equal(operator_mask(visible[:1, None, None], QUERY, KEY), visible[:1].expand(2, 5))
    assert operator_mask(None, QUERY, KEY) is None


def test_biases_of_keys_are_passed_on_where_they_may_be_any():
    additive = torch.tensor([[0.0, 0.5, -10000, -2, 0], [-10000.0] * 5])[:, None, None]
    biased = operator_mask(additive.expand(2, 3, 4, 5), QUERY, KEY, biased=True)
    # what is hidden is out, unless nothing else is there: then stock attention is to all alike
    expected = torch.tensor([[0.0, 0.5, -torch.inf, -2, 0], [-10000.0] * 5])[:, None, None]
    assert torch.equal(biased.expand(2, 1, 1, 5), expected)


@pytest.mark.parametrize(
    "shape", [(2, 1, 4, 5), (2, 3, 4, 5), (1, 3, 4, 5), (1, 1, 4, 5), (3, 4, 5), (1, 4, 5), (4, 5)], ids=str
)
@pytest.mark.parametrize("kind", ["bool", "additive"])
def test_masks_with_a_query_axis_broadcast_as_in_stock_attention(shape, kind):
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mask = drawn > 0 if kind == "bool" else drawn
    made = operator_mask(mask, QUERY, KEY)
    assert made.shape[0] == 2
    assert torch.equal(made.expand(2, 3, 4, 5), mask.expand(2, 3, 4, 5))


def test_axes_that_are_expanded_are_kept_short():
    mask = (torch.rand(2, 1, 4, 5) > 0.5).expand(2, 3, 4, 5)
    assert operator_mask(mask, QUERY, KEY).shape == (2, 1, 4, 5)


@pytest.mark.parametrize("mask", [torch.zeros(2, 1, 4, 6), torch.zeros(3, 1, 1, 5), torch.zeros(5), "a block mask"])
def test_what_is_no_mask_is_refused_by_the_layers_name(mask):
    with pytest.raises(UnsupportedAttentionError, match=r"layer blocks\.3: an attention mask"):
        operator_mask(mask, QUERY, KEY, layer="blocks.3")

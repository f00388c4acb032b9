"""Masks of keys: which values and shapes are taken for one."""

import pytest
import torch

from aid_pipeline.attention.masks import MaskChecker, check_mask_values
from aid_pipeline.errors import UnsupportedAttentionError


def test_masks_of_keys_are_accepted_and_biases_are_not():
    check_mask_values("m", torch.tensor([[1, 1, 0]]))
    check_mask_values("m", torch.tensor([[True, False]]))
    check_mask_values("m", torch.tensor([[[0.0, -10000.0]]]))
    check_mask_values("m", torch.tensor([[[0.0, -torch.inf]]]))
    with pytest.raises(UnsupportedAttentionError, match=r"0\.5"):
        check_mask_values("m", torch.tensor([[1.0, 0.5]]))
    with pytest.raises(UnsupportedAttentionError, match=r"-1\.5"):
        check_mask_values("m", torch.tensor([[[0.0, -1.5]]]))
    with pytest.raises(UnsupportedAttentionError, match="every key of row 1"):
        check_mask_values("m", torch.tensor([[1, 0], [0, 0]]))


def test_masks_are_found_among_arguments_and_checked_once(monkeypatch):
    mask, checker = torch.tensor([[1, 1, 0]]), MaskChecker()
    call = {"sample": torch.zeros(1, 3), "added": {"attention_mask": mask}, "encoder_attention_mask": None}
    checker.check(call)
    monkeypatch.setattr("aid_pipeline.attention.masks.check_mask_values", None)
    checker.check(call)
    monkeypatch.undo()
    with pytest.raises(UnsupportedAttentionError, match="encoder_attention_mask"):
        checker.check(call | {"encoder_attention_mask": mask * 0.5})

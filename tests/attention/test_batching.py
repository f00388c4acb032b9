"""Tensors of a denoiser call, split into rows and joined again."""

from dataclasses import dataclass

import pytest
import torch
from diffusers.utils import BaseOutput

from aid_pipeline import AIDError
from aid_pipeline.attention.batching import DenoiserCall, join_outputs, take_rows
from aid_pipeline.attention.row_groups import one_of_each


def test_batch_tensors_are_split_and_others_are_not():
    rows = torch.tensor([2, 0])
    batch = torch.arange(3.0)[:, None].expand(3, 4)
    arguments = {
        "hidden_states": batch,
        "timestep": torch.tensor(7),
        "img_ids": torch.zeros(3, 3),  # three positions, by accident as many as rows
        "added_cond_kwargs": {"time_ids": batch, "image_embeds": [batch, batch[:1]]},
        "down_block_additional_residuals": (batch, torch.zeros(5, 2)),
        "return_dict": False,
        "nothing": None,
    }
    taken = take_rows(arguments, rows, 3)
    assert taken["hidden_states"][:, 0].tolist() == [2, 0]
    assert taken["timestep"] is arguments["timestep"]
    assert taken["img_ids"] is arguments["img_ids"]
    assert taken["added_cond_kwargs"]["time_ids"][:, 0].tolist() == [2, 0]
    assert [len(t) for t in taken["added_cond_kwargs"]["image_embeds"]] == [2, 1]
    assert isinstance(taken["down_block_additional_residuals"], tuple)
    assert [len(t) for t in taken["down_block_additional_residuals"]] == [2, 5]
    assert taken["return_dict"] is False
    assert taken["nothing"] is None
    assert take_rows(batch, slice(1, 3), 3).data_ptr() == batch[1:].data_ptr()
    assert arguments["hidden_states"] is batch


@pytest.mark.parametrize("positional", [True, False])
def test_an_entry_of_a_dictionary_among_the_arguments(positional):
    given, sample = {"kept": 1, "image_embeds": 2}, torch.zeros(3, 4)
    args, kwargs = ((sample, given), {}) if positional else ((), {"sample": sample, "conditions": given})
    call = DenoiserCall(("sample", "conditions"), args, kwargs)
    assert call.with_entry("conditions", "image_embeds", 5).named()["conditions"] == {"kept": 1, "image_embeds": 5}
    assert given["image_embeds"] == 2
    assert call.batch == 3
    assert call.take(slice(1, 3)).batch == 2
    bare = DenoiserCall(("sample", "conditions"), (sample,), {})
    assert bare.with_entry("conditions", "image_embeds", 5).kwargs == {"conditions": {"image_embeds": 5}}


@dataclass
class Output(BaseOutput):
    sample: torch.Tensor


def test_outputs_are_joined_in_the_calls_order():
    parts = [torch.tensor([[2.0], [0.0]]), torch.tensor([[1.0]])]
    order = torch.tensor([2, 0, 1]).argsort()
    ordered = [[0.0], [1.0], [2.0]]
    assert join_outputs(parts, order).tolist() == ordered
    assert join_outputs([(part,) for part in parts], order)[0].tolist() == ordered
    joined = join_outputs([Output(sample=part) for part in parts], order)
    assert isinstance(joined, Output)
    assert joined.sample.tolist() == ordered
    with pytest.raises(AIDError, match="chunk=None"):
        join_outputs([1.0, 2.0], order)


def test_embeddings_repeated_for_each_row_go_with_it():
    embeds = torch.arange(6.0)[:, None, None].expand(6, 2, 4)
    call = DenoiserCall(("sample",), (torch.zeros(3, 4),), {"encoder_hidden_states": embeds, "other": embeds})
    part = call.take(torch.tensor([2, 0]))
    assert part.kwargs["encoder_hidden_states"][:, 0, 0].tolist() == [4, 5, 0, 1]
    assert part.kwargs["other"] is embeds
    assert call.take(slice(1, 3)).kwargs["encoder_hidden_states"][:, 0, 0].tolist() == [2, 3, 4, 5]
    assert one_of_each(embeds, 3)[:, 0, 0].tolist() == [0, 2, 4]
    assert one_of_each(embeds, 6) is embeds
    assert one_of_each(embeds, 4) is embeds

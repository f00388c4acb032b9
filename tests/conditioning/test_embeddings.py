"""Every frame's text embeddings from those of the endpoints and the guides."""

import pytest
import torch

from aid_pipeline.conditioning.embeddings import Encoded
from aid_pipeline.errors import PromptError

T = (0.0, 0.25, 0.5, 1.0)


def random(seed):
    return torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(seed))


def encoded(guides=(), **first):
    one = {"prompt_embeds": random(0), "negative_prompt_embeds": random(1), **first}
    other = {name: value.flip(1) for name, value in one.items()}
    return Encoded(one, other, guides)


def test_rows_are_lerped_and_the_endpoints_are_exact():
    prompts = encoded()
    for name, rows in prompts.arguments_for(T).items():
        first, last = prompts.first[name], prompts.last[name]
        assert torch.equal(rows[0], first[0])
        assert torch.equal(rows[-1], last[0])
        torch.testing.assert_close(rows[1:3], torch.cat([0.75 * first + 0.25 * last, 0.5 * first + 0.5 * last]))
        assert torch.equal(prompts.rows_for(name, T), rows)


def test_half_precision_is_lerped_in_single():
    prompts = encoded(prompt_embeds=random(2).half())
    first, last = prompts.first["prompt_embeds"], prompts.last["prompt_embeds"]
    expected = torch.lerp(first.float(), last.float(), 0.25).half()
    assert torch.equal(prompts.rows_for("prompt_embeds", T)[1:2], expected)


def test_a_token_that_either_mask_shows_is_visible():
    rows = encoded(prompt_attention_mask=torch.tensor([[1, 0, 0]])).rows_for("prompt_attention_mask", T)
    assert rows.tolist() == [[1, 0, 0], [1, 0, 1], [1, 0, 1], [0, 0, 1]]


def test_guides_are_the_interior_frames():
    guides = ({"prompt_embeds": random(3)}, {"prompt_embeds": random(4)})
    prompts = encoded(guides)
    rows = prompts.rows_for("prompt_embeds", T)
    assert torch.equal(rows[1:3], torch.cat([random(3), random(4)]))
    assert torch.equal(rows[[0, 3]], torch.cat([prompts.first["prompt_embeds"], prompts.last["prompt_embeds"]]))
    lerped = encoded().rows_for("negative_prompt_embeds", T)
    assert torch.equal(prompts.rows_for("negative_prompt_embeds", T), lerped)


def test_one_guide_is_that_of_any_number_of_interior_frames():
    """A selection tries more frames, and fewer, than the sequence has."""
    guide = {"prompt_embeds": random(5), "negative_prompt_embeds": random(1)}
    prompts = encoded((guide, guide))
    for count in (3, 5, 9):
        rows = prompts.rows_for("prompt_embeds", [index / (count - 1) for index in range(count)])
        assert torch.equal(rows[1:-1], guide["prompt_embeds"].expand(count - 2, -1, -1))


def test_equal_rows_take_the_memory_of_one():
    one = {"prompt_embeds": random(0), "negative_prompt_embeds": random(1)}
    rows = Encoded(one, dict(one), ()).rows_for("negative_prompt_embeds", T)
    assert rows.shape[0] == 4
    assert rows.stride(0) == 0


def test_a_prompt_equal_to_its_negative_prompt():
    with pytest.raises(PromptError, match="frame 0"):
        encoded(negative_prompt_embeds=random(0)).arguments_for(T)

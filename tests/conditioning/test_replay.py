"""Replay of an encoder that is known by its signature alone."""

import pytest
import torch

from aid_pipeline.conditioning.prompts import Prompts
from aid_pipeline.conditioning.replay import Encodings, Replay
from aid_pipeline.errors import ArgumentError, PromptError, UnsupportedPipelineError

T = (0.0, 0.25, 1.0)


class Pipe:
    """Encodes a text as its letters; counts what it encodes."""

    def __init__(self):
        self.encoded = []

    def __call__(self, prompt, negative_prompt=None, guidance_scale=1.0):
        raise NotImplementedError

    def encode_prompt(self, prompt, do_classifier_free_guidance=True, negative_prompt=None):
        self.encoded.append(list(prompt))
        return self._letters(prompt), self._letters(negative_prompt or [""] * len(prompt))

    def _encode_prior_prompt(self, prompt):
        return self._letters(prompt) + 1

    @staticmethod
    def _letters(texts):
        return torch.stack([torch.tensor([[float(ord(letter))] for letter in text.ljust(4)]) for text in texts])


def replay(negatives=None, guides=None, **more):
    return Replay(Prompts("ab", "cd", guides, negatives), T, {}, **more)


def encoded(texts, pipe, **call):
    texts.install(pipe)
    return pipe.encode_prompt(**texts.arguments(), **call)


def test_every_frame_has_its_row():
    texts = replay(negatives=("x", "y"))
    rows, negatives = encoded(texts, Pipe())
    first, last = Pipe._letters(["ab", "cd"])
    assert torch.equal(rows, torch.stack([first, torch.lerp(first, last, 0.25), last]))
    assert torch.equal(
        negatives[:, 0, 0], torch.lerp(torch.tensor(ord("x") * 1.0), torch.tensor(ord("y") * 1.0), torch.tensor(T))
    )
    assert torch.equal(texts.embeddings(), rows)


def test_a_negative_prompt_that_is_not_read():
    texts = replay(negatives=("x", "y"))
    encoded(texts, Pipe(), do_classifier_free_guidance=False)
    with pytest.raises(ArgumentError, match=r"guidance_scale=1.0.*raise guidance_scale over 1"):
        texts.embeddings()


def test_a_prompt_equal_to_its_negative_prompt():
    with pytest.raises(PromptError, match="frame 2"):
        encoded(replay(negatives=("x", "cd")), Pipe())


def test_stock_calls_of_a_sequence_share_what_was_encoded():
    pipe, encodings = Pipe(), Encodings()
    for _ in range(2):
        own = Pipe()
        own.encoded = pipe.encoded
        encoded(replay(guides=("e",), encodings=encodings), own)
    assert pipe.encoded == [["ab"], ["e"], ["cd"], ["ab", "e", "cd"]]
    assert encodings.seconds > 0


def test_a_text_that_is_no_frame_s_is_left_alone():
    texts, pipe = replay(), Pipe()
    texts.install(pipe)
    assert torch.equal(pipe.encode_prompt(["q"])[0], Pipe._letters(["q"]))
    with pytest.raises(UnsupportedPipelineError, match="no embeddings"):
        texts.embeddings()


def test_a_prior_s_texts_are_the_denoiser_s_until_its_own_are_encoded():
    texts, pipe = replay(), Pipe()
    texts.install(pipe)
    prior = pipe._encode_prior_prompt(**texts.arguments())
    assert torch.equal(texts.embeddings(), prior)
    rows, _ = pipe.encode_prompt(**texts.arguments())
    assert torch.equal(texts.embeddings(), rows)
    assert len(texts.conditions()) == 2

"""Digests of weights in memory, and sequences of a pipeline that was changed after loading."""

import copy

import pytest
import torch

from aid_pipeline import load_model
from aid_pipeline.errors import ModelError
from aid_pipeline.io.weights import changed_weights, weights_digests
from aid_pipeline.request import Request, read_request
from aid_pipeline.spec import InterpolationSpec


@pytest.fixture(scope="module")
def pipe(miniature):
    return load_model(str(miniature))


def scaled(part):
    def change(pipe):
        with torch.no_grad():
            for weight in getattr(pipe, part).parameters():
                weight.mul_(1.03)
        return part

    return change


def with_a_word(pipe):
    pipe.tokenizer.add_tokens("<new>")
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer))
    return "text_encoder"


CHANGES = {"unet": scaled("unet"), "vae": scaled("vae"), "a textual inversion": with_a_word}


def test_equal_weights_have_equal_digests(pipe, miniature):
    assert weights_digests(pipe) == weights_digests(load_model(str(miniature)))
    assert set(weights_digests(pipe)) >= {"unet", "vae", "text_encoder"}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_memory_is_told_by_its_component(pipe, change):
    other = copy.deepcopy(pipe)
    part = CHANGES[change](other)
    assert changed_weights(weights_digests(pipe), weights_digests(other)) == [part]


@pytest.mark.parametrize("change", CHANGES)
def test_a_sequence_of_changed_weights_is_not_repeated_unnoticed(miniature, tmp_path, change):
    pipe = load_model(str(miniature))
    part = CHANGES[change](pipe)
    spec = InterpolationSpec.between("a red sphere", "a blue cube", frames=2, num_inference_steps=1)
    Request(spec, model=str(miniature)).sample(pipe).save(tmp_path / "run")
    again, _ = read_request(tmp_path / "run")
    with pytest.raises(ModelError, match=part):
        again.load()


def test_an_unchanged_pipeline_is_repeated(miniature, tmp_path):
    request = Request(
        InterpolationSpec.between("a red sphere", "a blue cube", frames=2, num_inference_steps=1), model=str(miniature)
    )
    request.sample(request.load()).save(tmp_path / "run")
    read_request(tmp_path / "run")[0].load()

"""The tokenizer knows the grammar's words and still accepts any text."""

from __future__ import annotations

import pytest

from aid_pipeline.miniature.components import TEXT_LENGTH, new_tokenizer
from aid_pipeline.miniature.scenes import caption, random_scenes, words


@pytest.fixture(scope="module")
def tokenizer():
    return new_tokenizer()


def test_every_word_of_the_grammar_is_one_token(tokenizer) -> None:
    assert {word: len(tokenizer.tokenize(word)) for word in words()} == dict.fromkeys(words(), 1)


def test_captions_round_trip_and_fit(tokenizer) -> None:
    for i, scene in enumerate(random_scenes(4, 200, pairs=0.5)):
        text = caption(scene, i)
        ids = tokenizer(text).input_ids
        assert len(ids) <= TEXT_LENGTH
        assert ids[0] == tokenizer.bos_token_id
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ,", ",").strip() == text


@pytest.mark.parametrize("text", ["zebra", "über", "日本語", "🙂", "xylophones quietly"])
def test_any_text_is_spelt_without_unknown_tokens(tokenizer, text: str) -> None:
    ids = tokenizer(text).input_ids[1:-1]
    assert len(ids) > 1
    assert tokenizer.bos_token_id not in ids
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids).strip() == text


def test_saved_tokenizer_is_the_same(tokenizer, tmp_path) -> None:
    from transformers import CLIPTokenizer

    tokenizer.save_pretrained(tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path, local_files_only=True)
    text = "a shiny red ball beside a zebra"
    assert again(text, padding="max_length").input_ids == tokenizer(text, padding="max_length").input_ids
    assert again.model_max_length == TEXT_LENGTH

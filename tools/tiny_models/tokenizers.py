"""Tokenizers whose tokens are single letters, so that any two prompts differ and none needs a file."""

from __future__ import annotations

import functools
import string
from collections.abc import Callable
from typing import Any

import transformers

LETTERS = string.ascii_letters + string.digits + string.punctuation
CLIP_LENGTH = 77
LONGEST = 4096
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% elif part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN_CHAT = (
    "{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}[IMG]{% endif %}{% endfor %}{% endif %} {% endfor %}"
)
QWEN_SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<think>", "</think>"),
)


@functools.cache
def clip() -> Any:
    """A byte-pair tokenizer without merges."""
    lower = string.ascii_lowercase + string.digits + string.punctuation
    pieces = [*lower, *(f"{letter}</w>" for letter in lower), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)}, merges=[], model_max_length=CLIP_LENGTH
    )


@functools.cache
def t5() -> Any:
    """Unigram; "▁" is a space, unknown characters are far less likely."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0)]
    return transformers.T5Tokenizer(
        vocab=special + [(letter, -3.0) for letter in "▁" + LETTERS], extra_ids=0, model_max_length=512
    )


@functools.cache
def xlm_roberta() -> Any:
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0)]
    return transformers.XLMRobertaTokenizer(
        vocab=special + [(letter, -3.0) for letter in "▁" + LETTERS], model_max_length=CLIP_LENGTH
    )


def _bytes() -> list[str]:
    """The byte-level alphabet: visible characters for themselves, further ones for the rest."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = iter(range(256, 512))
    return [chr(byte if byte in shown else next(hidden)) for byte in range(256)]


def _numbered(*pieces: str) -> dict[str, int]:
    return {piece: index for index, piece in enumerate(pieces)}


@functools.cache
def qwen2() -> Any:
    """Byte-level, with the tokens of a chat and of images in it."""
    tokenizer = transformers.Qwen2Tokenizer(
        vocab=_numbered(*_bytes(), *QWEN_SPECIAL),
        merges=[],
        model_max_length=LONGEST,
        extra_special_tokens=list(QWEN_SPECIAL[1:]),
    )
    tokenizer.chat_template = CHAT
    return tokenizer


@functools.cache
def gpt2() -> Any:
    return transformers.GPT2Tokenizer(
        vocab=_numbered(*_bytes(), "<|endoftext|>"),
        merges=[],
        pad_token="<|endoftext|>",
        model_max_length=CLIP_LENGTH,
    )


@functools.cache
def roberta() -> Any:
    return transformers.RobertaTokenizer(
        vocab=_numbered("<s>", "<pad>", "</s>", "<unk>", *_bytes(), "<mask>"), merges=[], model_max_length=CLIP_LENGTH
    )


@functools.cache
def glm() -> Any:
    """Byte-level, padded on the left."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    inner = Tokenizer(models.BPE(vocab=_numbered(*_bytes(), "<|endoftext|>", "[gMASK]", "<sop>"), merges=[]))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        model_max_length=LONGEST,
    )
    return _begun(tokenizer, "[gMASK]")


@functools.cache
def gemma() -> Any:
    tokenizer = transformers.GemmaTokenizer(
        vocab=_numbered("<pad>", "<eos>", "<bos>", "<unk>", "▁", *LETTERS),
        merges=[],
        mask_token=None,
        model_max_length=512,
    )
    return _begun(tokenizer, "<bos>")


@functools.cache
def llama() -> Any:
    tokenizer = transformers.LlamaTokenizer(
        vocab=_numbered("<unk>", "<s>", "</s>", "<pad>", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "▁", *LETTERS),
        merges=[],
        model_max_length=LONGEST,
        pad_token="<pad>",
        extra_special_tokens=["[IMG]", "[IMG_BREAK]", "[IMG_END]"],
    )
    return _begun(tokenizer, "<s>")


@functools.cache
def bert() -> Any:
    vocab = _numbered("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS))
    return transformers.BertTokenizer(vocab=vocab, model_max_length=512)


@functools.cache
def byt5() -> Any:
    return transformers.ByT5Tokenizer(model_max_length=512)


def _begun(tokenizer: Any, token: str) -> Any:
    """The tokenizer with a token before every text."""
    from tokenizers.processors import TemplateProcessing

    number = tokenizer.convert_tokens_to_ids(token)
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, number)]
    )
    tokenizer.chat_template = PLAIN_CHAT
    return tokenizer


# by the start of the annotation's name; an automatic one goes by the text encoder's
BY_NAME: dict[str, Callable[[], Any]] = {
    "CLIP": clip,
    "ByT5": byt5,
    "T5Gemma": gemma,
    "T5": t5,
    "UMT5": t5,
    "Qwen": qwen2,
    "SmolLM3": qwen2,
    "GPT2": gpt2,
    "Roberta": roberta,
    "ClapText": roberta,
    "XLMRoberta": xlm_roberta,
    "Gemma": gemma,
    "Llama": llama,
    "Mistral": llama,
    "Bert": bert,
    "Glm": glm,
    "PythonBackend": bert,
}


def named(name: str) -> Any:
    """The tokenizer of a class, or of a text encoder's class.

    Raises:
        LookupError: there is none.
    """
    for start, make in BY_NAME.items():
        if name.startswith(start):
            return make()
    raise LookupError(f"no tiny tokenizer for {name}")

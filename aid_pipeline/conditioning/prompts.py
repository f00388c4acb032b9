"""Prompts of a sequence and their checks, before anything is encoded."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import PromptError

logger = logging.getLogger(__name__)

# What one more prompt per text encoder is called; each reads `prompt` where it is not given.
PROMPT_OF_TOKENIZER = {"tokenizer": "prompt", "tokenizer_2": "prompt_2", "tokenizer_3": "prompt_3"}
ENCODER_TEXTS = ("prompt_2", "prompt_3", "negative_prompt_2", "negative_prompt_3")


@dataclass(frozen=True)
class Prompts:
    """The texts of one sequence, checked.

    Args:
        first, last: the endpoints' prompts.
        guides: None, or one guidance prompt per interior frame (PAID, arXiv 2403.17924, section 6).
        negatives: the endpoints' negative prompts, or None for the pipeline's own default.
    """

    first: str
    last: str
    guides: tuple[str, ...] | None
    negatives: tuple[str, str] | None

    def interior(self, count: int) -> tuple[str, ...]:
        """Texts of so many interior frames: the guides, else the first prompt.

        A selection tries other numbers of them, all with one guide.
        """
        guides = self.guides or (self.first,)
        return guides if len(guides) == count else guides[:1] * count


def check_prompts(
    prompt_a: Any,
    prompt_b: Any,
    guide: str | Sequence[str] | None,
    negative_prompt: str | Sequence[str] | None,
    num_frames: int,
    may_be_empty: Collection[str] = (),
) -> Prompts:
    """The four arguments of `interpolate` as `Prompts`.

    Args:
        may_be_empty: which of "prompt_a" and "prompt_b" may be, since an image says what is there.

    Raises:
        PromptError: an empty prompt, a value that is no text, a guide list of the wrong length, a guide for 2 frames.
    """
    for name, text in (("prompt_a", prompt_a), ("prompt_b", prompt_b)):
        if text != "" or name not in may_be_empty:
            _check_text(name, text)
    guides = None
    if guide is not None:
        interior = num_frames - 2
        if not isinstance(guide, Iterable):
            raise PromptError(f"guide must be one prompt or a list of prompts, got {guide!r}")
        guides = (guide,) * interior if isinstance(guide, str) else tuple(guide)
        if not interior:
            raise PromptError("a guide is for interior frames; with frames=2 there are none")
        if len(guides) != interior:
            raise PromptError(
                f"guide must be one prompt, or one for each of the {interior} interior frames; got {len(guides)}, "
                f"{guides!r:.100}"
            )
        for index, text in enumerate(guides):
            _check_text(f"guide {index + 1}", text)
    negatives = None
    if negative_prompt is not None:
        if not isinstance(negative_prompt, Iterable):
            raise PromptError(f"negative_prompt must be one text, or one for each endpoint; got {negative_prompt!r}")
        both = (negative_prompt,) * 2 if isinstance(negative_prompt, str) else tuple(negative_prompt)
        if len(both) != 2 or not all(isinstance(text, str) for text in both):
            raise PromptError(f"negative_prompt must be one text, or one for each endpoint; got {negative_prompt!r}")
        negatives = (both[0], both[1])
    return Prompts(prompt_a, prompt_b, guides, negatives)


def warn_if_prompts_equal(prompts: Prompts) -> None:
    """Log a warning that both endpoints have one text, which is allowed."""
    if prompts.first == prompts.last and prompts.guides is None:
        logger.warning("both prompts are %r: without a guide all frames have the same text", prompts.first)


def _check_text(name: str, text: Any) -> None:
    if not isinstance(text, str):
        raise PromptError(f"{name} must be a text, got {text!r}")
    if not text.strip():
        raise PromptError(f"{name} is empty; describe the image in a few words")


def check_lengths(pipe: Any, prompts: Prompts, call: Mapping[str, Any], max_sequence_length: int | None) -> None:
    """Compare every text of a sequence with what each text encoder reads; see `check_length`.

    Args:
        call: arguments of the stock call, maybe with another text for one encoder.
    """
    read = [
        name
        for name in PROMPT_OF_TOKENIZER
        if hasattr(getattr(pipe, name, None), "model_max_length")  # a chat's processor has none
        and getattr(pipe, name.replace("tokenizer", "text_encoder"), name) is not None
    ]
    for texts, prefix in (
        ((prompts.first, prompts.last, *(prompts.guides or ())), ""),
        (prompts.negatives or (), "negative_"),
    ):
        for text in dict.fromkeys(texts):
            named = {name: call.get(prefix + PROMPT_OF_TOKENIZER[name]) or text for name in read}
            check_length(pipe, named, max_sequence_length)


def check_length(pipe: Any, texts: dict[str, str], max_sequence_length: int | None) -> None:
    """Compare one prompt with what each text encoder reads; SD3 and FLUX read it with a long T5 and short CLIPs.

    Args:
        pipe: the pipeline whose tokenizers count.
        texts: the prompt as each tokenizer gets it, by the tokenizer's name in the pipeline.
        max_sequence_length: tokens a T5 encoder reads, where the stock call says so.

    Raises:
        PromptError: some of the prompt is read by no encoder. The message holds the words that would be cut. What only
            some encoders cut is logged instead.
    """
    cuts: dict[str, str] = {}
    read_whole: set[str] = set()
    for name, text in texts.items():
        tokenizer = getattr(pipe, name)
        is_clip = "CLIP" in type(tokenizer).__name__
        limit = tokenizer.model_max_length if is_clip or max_sequence_length is None else max_sequence_length
        if is_clip and hasattr(pipe, "maybe_convert_prompt"):
            text = pipe.maybe_convert_prompt(text, tokenizer)
        tokens = tokenizer(text, truncation=False, verbose=False).input_ids
        if len(tokens) > limit:
            cut = tokenizer.decode(tokens[limit - 1 :], skip_special_tokens=True).strip()
            cuts[texts[name]] = f"{name} counts {len(tokens)} tokens of {limit} and would cut {cut!r}"
        else:
            read_whole.add(texts[name])
    for text, cut in cuts.items():
        if text not in read_whole:
            raise PromptError(f"the prompt {_shorten(text)!r} is too long: {cut}; shorten it")
        logger.warning("%s of %r; another text encoder reads all of it", cut, _shorten(text))


def _shorten(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

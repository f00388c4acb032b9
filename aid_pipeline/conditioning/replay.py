"""Replay of a stock `encode_prompt`: every frame's text embeddings from the stock call's own encoding.

The stock call gets one text per frame. On the private copy its encoder is a stand-in that runs the stock method for
each endpoint and each guide alone and mixes what it returns by shape; so nothing of a family needs to be known.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from ..errors import ArgumentError, PromptError, UnsupportedPipelineError
from .embeddings import guides_of
from .encoding import REFUSALS, read_tokenizers
from .mixing import FrameRows, Mixer, TextShares
from .prompts import Prompts, check_length

ENCODERS = ("encode_prompt", "_encode_prompt", "_encode_prior_prompt")


class Replay:
    """Texts of a sequence for one stock call, and the embeddings that its encoder made of them.

    Args:
        prompts: of the sequence.
        coefficients: t of each frame.
    """

    def __init__(self, prompts: Prompts, coefficients: Sequence[float]) -> None:
        self._coefficients = tuple(coefficients)
        interior = len(self._coefficients) - 2
        guides = guides_of(prompts.guides or (), interior) or (prompts.first,) * interior
        self._texts = [prompts.first, *guides, prompts.last]
        self._has_guide = prompts.guides is not None
        self._negatives: list[str] | None = None
        if prompts.negatives is not None:
            first, last = prompts.negatives
            self._negatives = [first] * (interior + 1) + [last]
        self._negatives_read = False
        self._encoding = False
        self._made: list[FrameRows] = []

    def arguments(self) -> dict[str, Any]:
        """Those of the stock call that hold texts."""
        negatives = {} if self._negatives is None else {"negative_prompt": self._negatives}
        return {"prompt": self._texts, **negatives}

    def install(self, pipe: Any) -> None:
        """Put the stand-ins on a pipeline, which must be a private copy."""
        for name in encoders_of(pipe):
            object.__setattr__(pipe, name, self._stand_in(name, getattr(pipe, name)))

    def rows(self) -> Tensor | list[Tensor]:
        """The frames' embeddings (m, L, C), or (L, C) of each, as the stock call got them.

        Raises:
            ArgumentError: a negative prompt that the stock call did not read.
            UnsupportedPipelineError: no embeddings of the prompts.
        """
        if self._negatives is not None and not self._negatives_read:
            raise ArgumentError(
                "negative_prompt was not read: this call is without guidance, or the model takes none; leave it out or "
                "raise the guidance"
            )
        embeddings = [made for made in self._made if made.has_tokens]
        if not embeddings:
            raise UnsupportedPipelineError(
                "the pipeline's encoder returned no embeddings (prompts, tokens, channels) that differ between the "
                "prompts"
            )
        return next((made for made in embeddings if made.of_prompt), embeddings[0]).rows()

    def _stand_in(self, name: str, stock: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(stock)
        def encode(*args: Any, **kwargs: Any) -> Any:
            if self._encoding:  # one encoder calls another
                return stock(*args, **kwargs)
            self._encoding = True
            try:
                return self._encode(name, stock, args, kwargs)
            finally:
                self._encoding = False

        return encode

    def _encode(self, name: str, stock: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        bound = inspect.signature(stock).bind(*args, **kwargs)
        lists = {argument: value for argument, value in bound.arguments.items() if self._is_texts(value)}
        if not lists:
            return stock(*args, **kwargs)
        conditional = any(value == self._texts for value in lists.values())
        negatives = {argument for argument, value in lists.items() if conditional and value == self._negatives}
        if self._negatives in lists.values():
            self._negatives_read = bound.arguments.get("do_classifier_free_guidance") is not False

        def run(frames: Sequence[_Texts]) -> Any:
            call = inspect.signature(stock).bind(*args, **kwargs)
            for argument, value in lists.items():
                call.arguments[argument] = [value[at.of(argument in negatives)] for at in frames]
            if "batch_size" in call.arguments:
                call.arguments["batch_size"] = len(frames)
            try:
                return stock(*call.args, **call.kwargs)
            except REFUSALS as error:
                raise ArgumentError(f"{name} cannot encode the prompts ({error})") from error

        def key(at: _Texts) -> tuple[str, ...]:
            return tuple(value[at.of(argument in negatives)] for argument, value in lists.items())

        last = len(self._coefficients) - 1
        guides = [_Texts(frame, 0) for frame in range(1, last)] if self._has_guide and conditional else []
        # the last prompt with the first's negative tells what depends on the prompt
        wanted = [_Texts(0, 0), *guides, _Texts(last, 0), _Texts(last, last)]
        keys = list(dict.fromkeys(map(key, wanted)))
        texts = [next(at for at in wanted if key(at) == text) for text in keys]
        shares = TextShares(
            self._coefficients,
            first=keys.index(key(_Texts(0, 0))),
            last=keys.index(key(_Texts(last, last))),
            guides={at.prompt: keys.index(key(at)) for at in guides},
            same_negative=tuple(place for place, at in enumerate(texts) if at.negative == 0),
        )
        mixer, together = Mixer(shares), texts if len(texts) > 1 else texts * 2
        mixed = mixer.mix([run([at]) for at in texts], run(together), len(together))
        if conditional:
            self._made += mixer.made
        return mixed

    def _is_texts(self, value: Any) -> bool:
        return isinstance(value, list) and len(value) == len(self._texts) and all(isinstance(v, str) for v in value)


class _Texts(NamedTuple):
    """Frames whose prompt and whose negative prompt are encoded together."""

    prompt: int
    negative: int

    def of(self, is_negative: bool) -> int:
        return self.negative if is_negative else self.prompt


def encoders_of(pipe: Any) -> list[str]:
    """Names of the methods that encode prompts."""
    return [name for name in ENCODERS if callable(getattr(pipe, name, None))]


def check_mode(pipe: Any, mode: str) -> None:
    """Raise UnsupportedPipelineError for mode "denoising", which switches embeddings by their names."""
    if mode == "denoising":
        raise UnsupportedPipelineError(
            f'mode="denoising" is not known for {type(pipe).__name__}: embeddings have no names here; use "outer" '
            'or "inner"'
        )


def check_replay(
    pipe: Any, prompts: Prompts, mode: str, guidance_scale: float | None, stock: Mapping[str, Any]
) -> None:
    """Refuse what a replayed call cannot serve, before anything is encoded.

    Args:
        mode: of the interpolation.
        guidance_scale: where it was asked for; None means the default.
        stock: other arguments of the stock call.

    Raises:
        PromptError: a negative prompt for a pipeline without one, or a prompt longer than every encoder reads.
        ArgumentError: a guidance scale, or a text for its encoder alone, that the stock call does not take.
        UnsupportedPipelineError: a pipeline that makes neither images nor clips, or mode "denoising".
    """
    parameters, name = inspect.signature(pipe.__call__).parameters, type(pipe).__name__
    if all(getattr(pipe, processor, None) is None for processor in ("image_processor", "video_processor")):
        raise UnsupportedPipelineError(f"{name} has no image_processor and no video_processor: it makes no images")
    if "prompt" not in parameters:
        raise UnsupportedPipelineError(f"{name} takes no prompt")
    check_mode(pipe, mode)
    if prompts.negatives is not None and "negative_prompt" not in parameters:
        raise PromptError(f"{name} takes no negative_prompt; leave it out")
    if guidance_scale is not None and "guidance_scale" not in parameters:
        raise ArgumentError(f"{name} takes no guidance_scale, got {guidance_scale:g}; leave it out")
    for argument in stock:
        if argument not in parameters:
            raise ArgumentError(f"the call of {name} takes no {argument}; leave it out")
    longest = parameters.get("max_sequence_length")
    limit = stock.get("max_sequence_length", None if longest is None else longest.default)
    texts = [prompts.first, prompts.last, *(prompts.guides or ()), *(prompts.negatives or ())]
    for text in dict.fromkeys(texts):
        check_length(pipe, dict.fromkeys(read_tokenizers(pipe), text), limit)

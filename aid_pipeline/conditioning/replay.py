"""Replay of a stock `encode_prompt`: every frame's text embeddings from the stock call's own encoding.

The stock call gets one text per frame. On the private copy its encoder is a stand-in that runs the stock method for
each endpoint and each guide alone and mixes what it returns by shape (`mixing.py`); so nothing of a family needs to be
known: which texts go to which encoder, whether there is guidance, and what the values are called is the stock call's.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from ..errors import ArgumentError, PromptError, UnsupportedPipelineError
from ..families import PRIOR_ENCODER, encoders_of, is_combined
from .mixing import FrameRows, Mixer, TextShares
from .prompts import ENCODER_TEXTS, Prompts, check_lengths

REFUSALS = (ValueError, TypeError, IndexError, KeyError, AttributeError, NotImplementedError)
"""What stock code raises for an option that it cannot serve."""

GUIDANCE = ("true_cfg_scale", "guidance_scale")
"""Stock arguments that turn classifier-free guidance on when they are above 1; the first that there is."""


@dataclass
class Encodings:
    """What the stock encoder returned for a sequence's texts, which all of its stock calls share.

    Attributes:
        seconds: spent in the encoder.
    """

    seconds: float = 0.0
    _returned: dict[Any, Any] = field(default_factory=dict)

    def of(self, key: Any, encode: Callable[[], Any]) -> Any:
        """What `encode` returned when it was first asked for this key."""
        if key not in self._returned:
            began = time.perf_counter()
            self._returned[key] = encode()
            self.seconds += time.perf_counter() - began
        return self._returned[key]


class Replay:
    """Texts of a sequence for one stock call, and the embeddings that its encoder made of them.

    Args:
        prompts: of the sequence.
        coefficients: t of each frame.
        call: arguments of the stock call.
        encodings: of the sequence; None for a call of its own.
        switches: every frame starts with the first prompt, the last one with its own.
    """

    def __init__(
        self,
        prompts: Prompts,
        coefficients: Sequence[float],
        call: Mapping[str, Any],
        encodings: Encodings | None = None,
        switches: bool = False,
    ) -> None:
        self._coefficients = tuple(coefficients)
        frames = len(self._coefficients)
        self._texts = [prompts.first, *prompts.interior(frames - 2), prompts.last]
        self._negatives = None if prompts.negatives is None else [prompts.negatives[0]] * (frames - 1)
        if self._negatives is not None and prompts.negatives is not None:
            self._negatives.append(prompts.negatives[1])
        self._has_guide = prompts.guides is not None
        self._call = dict(call)
        self._guidance = ("guidance_scale", 1.0)
        self._others = {name: [call[name]] * frames for name in ENCODER_TEXTS if call.get(name) is not None}
        self._encodings = encodings or Encodings()
        self._start = tuple(float(t == 1) for t in self._coefficients) if switches else None
        self._negatives_read = False
        self._encoding = False
        self._calls = 0
        self._made: list[FrameRows] = []
        self._of_prior: list[FrameRows] = []

    def arguments(self) -> dict[str, Any]:
        """Those of the stock call that hold texts."""
        negatives = {} if self._negatives is None else {"negative_prompt": self._negatives}
        return {"prompt": self._texts, **negatives, **self._others}

    def install(self, pipe: Any) -> None:
        """Put the stand-ins on a pipeline, which must be a private copy."""
        parameters = inspect.signature(pipe.__call__).parameters
        name = next((name for name in GUIDANCE if name in parameters), None)
        if name is not None:
            self._guidance = (name, self._call.get(name, parameters[name].default))
        for name in encoders_of(pipe):
            object.__setattr__(pipe, name, self._stand_in(name, getattr(pipe, name)))

    def embeddings(self) -> Tensor | list[Tensor]:
        """The frames' embeddings (m, L, C), or (L, C) of each, as the stock call got them.

        Raises:
            ArgumentError: a negative prompt that the stock call did not read.
            UnsupportedPipelineError: no embeddings of the prompts.
        """
        if self._negatives is not None and not self._negatives_read:
            name, scale = self._guidance
            raise ArgumentError(
                f"negative_prompt would not be read ({name}={scale}); leave it out or raise {name} over 1"
            )
        return self._embeddings().rows()

    def _embeddings(self) -> FrameRows:
        embeddings = [made for made in self._made if made.has_tokens]
        if not embeddings:
            raise UnsupportedPipelineError(
                "the pipeline's encoder returned no embeddings (prompts, tokens, channels) that differ between the "
                "prompts"
            )
        return next((made for made in embeddings if made.of_prompt), embeddings[0])

    def conditions(self) -> list[FrameRows]:
        """All that depends on the prompts."""
        return [made for made in [*self._made, *self._of_prior] if made.of_prompt]

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
        conditional = any(map(self._is_prompts, lists.values()))
        negatives = {argument for argument, value in lists.items() if conditional and value == self._negatives}
        if self._negatives in lists.values():
            self._negatives_read = bound.arguments.get("do_classifier_free_guidance") is not False
        self._calls += 1

        def texts_of(at: _Texts) -> tuple[str, ...]:
            return tuple(value[at.of(argument in negatives)] for argument, value in lists.items())

        def run(texts: tuple[tuple[str, ...], ...]) -> Any:
            call = inspect.signature(stock).bind(*args, **kwargs)
            call.arguments.update(zip(lists, map(list, zip(*texts, strict=True)), strict=True))
            if "batch_size" in call.arguments:
                call.arguments["batch_size"] = len(texts)
            if "num_images_per_prompt" in call.arguments:
                call.arguments["num_images_per_prompt"] = 1  # Wuerstchen counts the frames' image embeddings here
            try:
                return stock(*call.args, **call.kwargs)
            except REFUSALS as error:
                given = {key: value for key, value in call.arguments.items() if isinstance(value, int | float | str)}
                options = ", ".join(f"{key}={value!r}" for key, value in given.items())
                raise ArgumentError(f"{name} cannot encode the prompts ({error}); given were {options}") from error

        def encoded(*texts: tuple[str, ...]) -> Any:
            return self._encodings.of((self._calls, name, texts), lambda: run(texts))

        texts, shares = self._shares(texts_of, conditional)
        mixer, together = Mixer(shares), texts if len(texts) > 1 else texts * 2
        mixed = mixer.mix([encoded(text) for text in texts], encoded(*together), len(together))
        if conditional:
            made = self._of_prior if name == PRIOR_ENCODER else self._made
            made += mixer.made
        self._check_negative_differs([made for made in mixer.made if not (conditional and made.of_prompt)])
        return mixed

    def _shares(
        self, texts_of: Callable[[_Texts], tuple[str, ...]], conditional: bool
    ) -> tuple[list[tuple[str, ...]], TextShares]:
        """The different texts of an encoder call, and which of them each frame has."""
        last = len(self._coefficients) - 1
        guides = [_Texts(frame, 0) for frame in range(1, last)] if self._has_guide and conditional else []
        # the last prompt with the first's negative tells what depends on the prompt
        wanted = [_Texts(0, 0), *guides, _Texts(last, 0), _Texts(last, last)]
        texts = list(dict.fromkeys(map(texts_of, wanted)))
        return texts, TextShares(
            self._coefficients,
            first=0,
            last=texts.index(texts_of(_Texts(last, last))),
            guides={at.prompt: texts.index(texts_of(at)) for at in guides},
            same_negative=tuple({texts.index(texts_of(at)) for at in wanted if at.negative == 0}),
            prompts=self._start if conditional else None,
        )

    def _check_negative_differs(self, others: list[FrameRows]) -> None:
        """Raise PromptError for a frame whose embedding is its negative prompt's."""
        if not any(made.of_prompt for made in self._made):
            return
        embeddings = self._embeddings().rows()
        for negative in (made.rows() for made in others if made.has_tokens):
            for frame, (row, other) in enumerate(zip(embeddings, negative, strict=True)):
                if row.shape == other.shape and row.equal(other):
                    raise PromptError(
                        f"the prompt of frame {frame} and the negative prompt have the same embedding, so guidance "
                        "does nothing and their rows cannot be told apart; change one of them"
                    )

    def _is_prompts(self, value: list[str]) -> bool:
        """Whether texts are the frames' prompts, as they are or as the stock call has changed them."""
        return value == self._texts or (value != self._negatives and len(set(value)) > 1)

    def _is_texts(self, value: Any) -> bool:
        return isinstance(value, list) and len(value) == len(self._texts) and all(isinstance(v, str) for v in value)


class _Texts(NamedTuple):
    """Frames whose prompt and whose negative prompt are encoded together."""

    prompt: int
    negative: int

    def of(self, is_negative: bool) -> int:
        return self.negative if is_negative else self.prompt


def check_replay(pipe: Any, prompts: Prompts, guidance_scale: float | None, stock: Mapping[str, Any]) -> None:
    """Refuse what a replayed call cannot serve, before anything is encoded.

    Args:
        guidance_scale: where it was asked for; None means the default.
        stock: other arguments of the stock call.

    Raises:
        PromptError: a negative prompt for a pipeline without one, or a prompt longer than every encoder reads.
        ArgumentError: a guidance scale that the stock call does not take, true CFG without a negative prompt, or a text
            for one encoder that is none.
        UnsupportedPipelineError: a pipeline that makes neither images nor clips.
    """
    parameters, name = inspect.signature(pipe.__call__).parameters, type(pipe).__name__
    processors = (getattr(pipe, processor, None) for processor in ("image_processor", "video_processor"))
    visual = is_combined(pipe) or not parameters.keys().isdisjoint({"height", "image"})  # some process images by hand
    if not visual and all(processor is None for processor in processors):
        raise UnsupportedPipelineError(f"{name} has no image_processor and no video_processor: it makes no images")
    if "prompt" not in parameters:
        raise UnsupportedPipelineError(f"{name} takes no prompt")
    if prompts.negatives is not None and "negative_prompt" not in parameters:
        raise PromptError(f"{name} takes no negative_prompt (this model takes none); leave it out")
    if guidance_scale is not None and "guidance_scale" not in parameters:
        raise ArgumentError(f"{name} takes no guidance_scale, got {guidance_scale:g}; leave it out")
    scale = stock.get("true_cfg_scale") or 1
    if scale > 1 and prompts.negatives is None:
        raise ArgumentError(f'true_cfg_scale={scale:g} needs a negative_prompt ("" will do)')
    for text in ENCODER_TEXTS:
        if stock.get(text) is not None and not isinstance(stock[text], str):
            raise ArgumentError(f"{text} must be one text, the same for all frames; got {stock[text]!r}")
    longest = parameters.get("max_sequence_length")
    limit = stock.get("max_sequence_length", None if longest is None else longest.default)
    check_lengths(pipe, prompts, stock, limit)

"""Replay of a stock `encode_prompt`: every frame's text embeddings from the stock call's own encoding.

The stock call gets one text per frame. On the private copy its encoder is a stand-in that runs the stock method for
each endpoint and each guide alone and mixes what it returns by shape; so nothing of a family needs to be known.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import ArgumentError, PromptError, UnsupportedPipelineError
from .embeddings import guides_of
from .encoding import REFUSALS, read_tokenizers
from .prompts import Prompts, check_length

ENCODER = "encode_prompt"


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
        self._rows: Tensor | None = None

    def arguments(self) -> dict[str, Any]:
        """Those of the stock call that hold texts."""
        negatives = {} if self._negatives is None else {"negative_prompt": self._negatives}
        return {"prompt": self._texts, **negatives}

    def install(self, pipe: Any) -> None:
        """Put the stand-in on a pipeline, which must be a private copy."""
        stock = getattr(pipe, ENCODER)

        def encode_prompt(*args: Any, **kwargs: Any) -> Any:
            return self._encode(stock, args, kwargs)

        object.__setattr__(pipe, ENCODER, encode_prompt)

    def rows(self) -> Tensor:
        """The frames' embeddings (m, L, C), as the stock call got them.

        Raises:
            ArgumentError: a negative prompt that the stock call did not read.
            UnsupportedPipelineError: no embeddings (m, L, C) of the prompts.
        """
        if self._negatives is not None and not self._negatives_read:
            raise ArgumentError(
                "negative_prompt was not read: this call is without guidance, or the model takes none; leave it out or "
                "raise the guidance"
            )
        if self._rows is None:
            raise UnsupportedPipelineError(
                f"{ENCODER} returned no embeddings (prompts, tokens, channels) that differ between the prompts"
            )
        return self._rows

    def _encode(self, stock: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        bound = inspect.signature(stock).bind(*args, **kwargs)
        lists = {name: value for name, value in bound.arguments.items() if self._is_texts(value)}
        if not lists:
            return stock(*args, **kwargs)
        conditional = any(value == self._texts for value in lists.values())
        negatives = {name for name, value in lists.items() if conditional and value == self._negatives}
        if self._negatives in lists.values():
            self._negatives_read = bound.arguments.get("do_classifier_free_guidance") is not False

        def run(frames: Sequence[_Texts]) -> Any:
            call = inspect.signature(stock).bind(*args, **kwargs)
            for name, value in lists.items():
                call.arguments[name] = [value[at.negative if name in negatives else at.prompt] for at in frames]
            if "batch_size" in call.arguments:
                call.arguments["batch_size"] = len(frames)
            try:
                return stock(*call.args, **call.kwargs)
            except REFUSALS as error:
                raise ArgumentError(f"{ENCODER} cannot encode the prompts ({error})") from error

        def key(at: _Texts) -> tuple[str, ...]:
            return tuple(value[at.negative if name in negatives else at.prompt] for name, value in lists.items())

        mixer = _Mixer(run, key, self._coefficients, has_guide=self._has_guide and conditional)
        mixed = mixer.mixed()
        if conditional and self._rows is None:
            embeddings = [rows for rows in mixer.made if rows.ndim == 3]
            differing = [rows for rows in embeddings if not torch.equal(rows[0], rows[-1])]
            self._rows = next(iter(differing or embeddings), None)
        return mixed

    def _is_texts(self, value: Any) -> bool:
        return isinstance(value, list) and len(value) == len(self._texts) and all(isinstance(v, str) for v in value)


class _Texts(NamedTuple):
    """Frames whose prompt and whose negative prompt are encoded together."""

    prompt: int
    negative: int


class _Mixer:
    """What an encoder returns for all frames, from what it returns for the endpoints and guides.

    Args:
        run: the encoder for some texts.
        key: the texts themselves, to encode equal ones once.
        coefficients: t of each frame.
        has_guide: interior frames have texts of their own.

    Attributes:
        made: floating-point rows of all frames, in the order in which the encoder returns them.
    """

    def __init__(
        self,
        run: Callable[[Sequence[_Texts]], Any],
        key: Callable[[_Texts], tuple[str, ...]],
        coefficients: Sequence[float],
        has_guide: bool,
    ) -> None:
        last = len(coefficients) - 1
        self._coefficients, self._run = coefficients, run
        self._guides = [_Texts(index, 0) for index in range(1, last)] if has_guide else []
        # the last prompt with the first's negative tells what depends on the prompt
        wanted = [_Texts(0, 0), *self._guides, _Texts(last, 0), _Texts(last, last)]
        keys = list(dict.fromkeys(key(at) for at in wanted))
        self._encoded = [next(at for at in wanted if key(at) == text) for text in keys]
        self._place = {at: keys.index(key(at)) for at in wanted}
        self._last = _Texts(last, last)
        self.made: list[Tensor] = []

    def mixed(self) -> Any:
        """The encoder's values with a row for every frame."""
        together = self._encoded if len(self._encoded) > 1 else self._encoded * 2
        return self._mix([self._run([at]) for at in self._encoded], self._run(together), len(together))

    def _mix(self, alone: list[Any], together: Any, count: int) -> Any:
        if isinstance(together, Tensor):
            return self._tensor(alone, together, count)
        if isinstance(together, list | tuple):
            if isinstance(together, list) and len(together) == count != len(alone[0]):
                raise UnsupportedPipelineError(f"{ENCODER} returns a list with an entry for every prompt")
            parts = [self._mix([values[i] for values in alone], part, count) for i, part in enumerate(together)]
            return type(together)(parts)
        if isinstance(together, dict):
            return {key: self._mix([values[key] for values in alone], part, count) for key, part in together.items()}
        return together

    def _tensor(self, alone: list[Tensor], together: Tensor, count: int) -> Tensor:
        single = alone[0]
        if together.shape == single.shape or together.ndim != single.ndim or together.ndim == 0:
            return together  # shared by all prompts
        if together.shape[0] != count * single.shape[0]:
            raise UnsupportedPipelineError(
                f"{ENCODER} returns {tuple(together.shape)} for {count} prompts and {tuple(single.shape)} for one: its "
                "rows are not the prompts'"
            )
        if single.shape[0] != 1:
            raise UnsupportedPipelineError(f"{ENCODER} returns {single.shape[0]} rows for one prompt")
        if any(value.shape[1:] != together.shape[1:] for value in alone):
            alone = list(together.split(1))  # as long as the pipeline itself pads them
        rows = self._frame_rows(alone)
        if rows.is_floating_point():
            self.made.append(rows)
        return rows

    def _frame_rows(self, alone: list[Tensor]) -> Tensor:
        first, last = alone[self._place[_Texts(0, 0)]], alone[self._place[self._last]]
        with_first_negative = [value for at, value in zip(self._encoded, alone, strict=True) if at.negative == 0]
        rows = [between(first, last, t) for t in self._coefficients]
        if not all(value.equal(first) for value in with_first_negative):  # else a negative prompt's, which has no guide
            for at in self._guides:
                rows[at.prompt] = alone[self._place[at]]
        if all(row is rows[0] or torch.equal(row, rows[0]) for row in rows):
            return rows[0].expand(len(rows), *rows[0].shape[1:])
        return torch.cat(rows)


def between(first: Tensor, last: Tensor, t: float) -> Tensor:
    """Lerp of two tensors, exact at both endpoints and for equal ones; the union of two masks of 0 and 1."""
    if t in (0, 1):
        return last if t else first
    if not first.is_floating_point() or (_is_mask(first) and _is_mask(last)):
        return torch.maximum(first, last)
    if first.dtype == torch.float64:
        return torch.lerp(first, last, t)
    return torch.lerp(first.float(), last.float(), t).to(first.dtype)


def _is_mask(values: Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())


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

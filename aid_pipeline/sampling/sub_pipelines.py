"""Combined pipelines: a prior that makes image embeddings of the prompts, and a decoder that makes images of these.

Attention is interpolated in the decoder, whose image embeddings tell the frames' rows. A prior that denoises an image
of its own (Stable Cascade, Wuerstchen) is interpolated as well; one that denoises a single vector (Kandinsky) runs for
each endpoint and guide alone, and its vectors are lerped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..conditioning.mixing import between
from ..errors import LatentsError, UnsupportedPipelineError
from ..families import makes_vectors
from .stock_call import private_copy

PriorCall = Callable[..., Sequence[Tensor]]


class Prior:
    """Stand-in for the prior of a combined pipeline.

    Args:
        call: returns the image embeddings of all frames, and what belongs to them.
    """

    def __init__(self, call: PriorCall) -> None:
        self._call = call
        self._rows: Tensor | None = None

    def __call__(self, **arguments: Any) -> Sequence[Tensor]:
        made = self._call(**arguments)
        self._rows = made[0]
        return made

    def rows(self) -> Tensor:
        """The image embeddings of all frames, as the decoder was given them."""
        assert self._rows is not None, "the prior was not called"
        return self._rows


def combined_copy(pipe: Any, prior: Prior, decoder: Any) -> Any:
    """A private copy of a combined pipeline with these parts in place of its own."""
    own = private_copy(pipe)
    vars(own)["prior_pipe"], vars(own)["decoder_pipe"] = prior, decoder
    return own


def vectors_of(pipe: Any, coefficients: Sequence[float], has_guide: bool) -> PriorCall | None:
    """The call of a prior that makes vectors, run for each endpoint and guide alone; None for another prior.

    Args:
        pipe: the prior; runs on a private copy.
        coefficients: t of each frame.
        has_guide: interior frames have texts of their own.
    """
    if not makes_vectors(pipe):
        return None
    own, last = private_copy(pipe), len(coefficients) - 1

    def call(prompt: list[str], generator: list[torch.Generator], **more: Any) -> Sequence[Tensor]:
        begun = generator[0].get_state()
        made: dict[tuple[Any, ...], Sequence[Tensor]] = {}

        def alone(frame: int, end: int) -> Sequence[Tensor]:
            """Of a frame's prompt and an endpoint's negative prompt, with the noise of every frame."""
            negatives = more.get("negative_prompt")
            negative = negatives[end] if isinstance(negatives, list) else negatives
            key = prompt[frame], negative
            if key not in made:
                generator[0].set_state(begun)
                made[key] = own(prompt[frame], generator=generator[0], **more | {"negative_prompt": negative})
            return made[key]

        ends, interior = (alone(0, 0), alone(last, last)), range(1, last)
        rows = [[between(*values, t) for t in coefficients] for values in zip(*ends, strict=True)]
        for frame in interior if has_guide else ():
            rows[0][frame] = alone(frame, 0)[0]  # the negative prompt's have no guide
        done = generator[0].get_state()
        for each in generator:  # the decoder draws on as after the stock call's prior
            each.set_state(done)
        return [torch.cat(values) for values in rows]

    return call


def check_combined(denoising: Any) -> None:
    """Refuse what a combined pipeline cannot do, before anything is encoded.

    Args:
        denoising: the sequence's `Denoising`.

    Raises:
        LatentsError: noise of the user's, which a prior and a decoder would have to share.
        UnsupportedPipelineError: mode "denoising".
    """
    name = type(denoising.pipe).__name__
    if denoising.latents is not None or denoising.seeds[0] != denoising.seeds[1]:
        what = "latents" if denoising.latents is not None else "two seeds"
        raise LatentsError(f"{name} draws noise in its prior and in its decoder from one seed; it takes no {what}")
    if denoising.config.mode == "denoising":
        raise UnsupportedPipelineError(
            f'mode="denoising" is not known for {name}, whose images follow from its prior\'s embeddings; use "outer" '
            'or "inner"'
        )


def joined_calls(prior: Mapping[str, Any], decoder: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the layers of both parts, by their names."""
    return {**{f"prior_pipe.{name}": value for name, value in prior.items()}, **decoder}

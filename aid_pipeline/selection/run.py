"""Selection on a pipeline: samples the frames a method asks for, and keeps the chosen ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..attention.endpoint_cache import EndpointCache
from ..coefficients import BetaPrior, frame_coefficients
from ..metrics.distances import Distance, adjacent_distances, distance_name
from ..sampling.denoising import Denoising, SampledFrames
from ..sampling.stock_call import Progress
from . import Selection
from .bayes import evaluations, search_prior
from .dynamic import planned_rounds, select_dynamically


@dataclass(frozen=True)
class Selected:
    """The frames kept, as `SampledFrames`, their coefficients, and what `sequence.json` says about the choice."""

    sampled: SampledFrames
    coefficients: tuple[float, ...]
    record: dict[str, Any]


def select_frames(
    denoising: Denoising,
    selection: Selection,
    measure: Distance,
    frames: int,
    most_per_call: int | None,
    progress: Progress | None,
) -> Selected:
    """Sample, compare and choose.

    Args:
        denoising: the sequence's stock calls; its `output_type` is that of the frames returned.
        selection, measure: how to choose.
        frames: m, to keep.
        most_per_call: new frames that fit one denoiser call; None means any number.
        progress: called with (steps done, steps in all), of all calls together.
    """
    chosen_by = _bayes if selection.method == "bayes" else _dynamic
    return chosen_by(denoising, selection, measure, frames, most_per_call, progress)


class FrameSampler:
    """Samples images of one sequence, in as many calls as asked for; the first alone denoises its endpoints."""

    def __init__(self, denoising: Denoising, progress: Progress | None, calls: int) -> None:
        self.sampled: list[SampledFrames] = []
        self.images: dict[float, Tensor] = {}
        self.not_finite: set[float] = set()
        self.flagged: set[float] = set()
        self._denoising = replace(denoising, output_type="pt")
        self._memory = EndpointCache()
        self._progress, self._planned, self._steps = progress, calls, 0

    def sample(self, coefficients: Iterable[float]) -> Tensor:
        """(k, 3, height, width) float32 in [0, 1] at k coefficients; what is not finite is black."""
        asked = tuple(coefficients)
        whole = (0.0, *(t for t in asked if 0 < t < 1), 1.0)
        sampled = self._denoising.sample(whole, self.progress, self._memory)
        self.sampled.append(sampled)
        self.images.update(zip(whole, sampled.images, strict=True))
        self.not_finite |= {whole[index] for index in sampled.not_finite}
        self.flagged |= {whole[index] for index in sampled.flagged}
        return torch.stack([self.images[t] for t in asked]).float().nan_to_num(0.0, 0.0, 0.0)

    def progress(self, done: int, total: int) -> None:
        """Of the call under way, as part of all of them."""
        self._steps = total
        if self._progress is not None:
            self._progress(len(self.sampled) * total + done, max(self._planned, len(self.sampled) + 1) * total)

    def finish(self) -> None:
        """Say that all is done, where there were fewer calls than planned."""
        if self._progress is not None and len(self.sampled) < self._planned:
            self._progress(self._planned * self._steps, self._planned * self._steps)

    def keep(self, coefficients: tuple[float, ...], output_type: str) -> SampledFrames:
        """These frames as one stock call of that `output_type` would return them."""
        kept = torch.stack([self.images[t] for t in coefficients])
        chunks = [one.chunk for one in self.sampled if one.chunk is not None]
        return SampledFrames(
            images=_as_output(kept, output_type),
            denoise=sum(one.denoise for one in self.sampled),
            decode=sum(one.decode for one in self.sampled),
            report=self.sampled[-1].report,
            calls=self.sampled[-1].calls,
            chunk=max(chunks) if chunks else None,
            not_finite=tuple(index for index, t in enumerate(coefficients) if t in self.not_finite),
            flagged=tuple(index for index, t in enumerate(coefficients) if t in self.flagged),
        )


def _dynamic(
    denoising: Denoising,
    selection: Selection,
    measure: Distance,
    frames: int,
    most_per_call: int | None,
    progress: Progress | None,
) -> Selected:
    rounds = planned_rounds(selection.explored(frames), selection.per_round, most_per_call)
    sampler = FrameSampler(denoising, progress, rounds)
    choice = select_dynamically(sampler.sample, measure, frames, selection, most_per_call)
    sampler.finish()
    sampled = sampler.keep(choice.coefficients, denoising.output_type)
    record = choice.record() | {"denoised_frames": len(choice.explored), "messages": choice.messages()}
    if sampler.not_finite:
        record["not_finite_at"] = sorted(sampler.not_finite)
    return Selected(sampled, choice.coefficients, record)


def _bayes(
    denoising: Denoising,
    selection: Selection,
    measure: Distance,
    frames: int,
    most_per_call: int | None,
    progress: Progress | None,
) -> Selected:
    calls = evaluations(selection.steps)
    sampler = FrameSampler(denoising, progress, calls + 1)

    def distances(prior: BetaPrior) -> list[float]:
        return adjacent_distances(measure, sampler.sample(frame_coefficients(prior, frames))).tolist()

    search = search_prior(distances, selection.steps, denoising.seeds[0])
    t = frame_coefficients(search.best, frames)
    # once more in a call of its own: bit for bit the sequence that these coefficients give
    sampled = denoising.sample(t, sampler.progress)
    total = [*sampler.sampled, sampled]
    whole = replace(sampled, denoise=sum(one.denoise for one in total), decode=sum(one.decode for one in total))
    denoised = 2 + (frames - 2) * len(sampler.sampled) + frames
    return Selected(whole, t, search.record() | {"distance": distance_name(measure), "denoised_frames": denoised})


def _as_output(images: Tensor, output_type: str) -> Any:
    """Images (m, 3, height, width) as the stock image processor hands them out."""
    from diffusers.image_processor import VaeImageProcessor

    if output_type == "pt":
        return images
    array = VaeImageProcessor.pt_to_numpy(images)
    return array if output_type == "np" else VaeImageProcessor.numpy_to_pil(array)

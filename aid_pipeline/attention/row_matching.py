"""Row matching: which rows of a denoiser call are the frames, found by value and not by position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from aid_kernels import InterpolationPlan

from ..errors import RowsError
from .frames import Embeddings, Frames

EMBEDDINGS = "encoder_hidden_states"  # where most denoisers take them
REMEMBERED = 8  # embeddings whose rows are known; a pipeline alternates between two or three


def find_rows(embeds: Embeddings, expected: Embeddings) -> list[int]:
    """Where the blocks of rows start that equal `expected`: pipelines put conditional rows first, last or alone.

    Args:
        embeds: (B, L, C) of a denoiser call, or B of (L, C).
        expected: (m, L, C) of all frames, or m of (L, C); compared as the pipeline hands it on, moved, cast and padded.
    """
    rows = len(expected)
    if len(embeds) % rows:
        return []
    starts = range(0, len(embeds), rows)
    if not isinstance(embeds, Tensor) or not isinstance(expected, Tensor):
        return [start for start in starts if all(map(_is_row, embeds[start : start + rows], expected))]
    if embeds[0].numel() != expected[0].numel() or embeds.shape[-1] != expected.shape[-1]:
        return []
    embeds = embeds.reshape(len(embeds), *expected.shape[1:])  # some have an axis of 1 more
    expected = expected.to(embeds.device, embeds.dtype)
    return [start for start in starts if torch.equal(embeds[start : start + rows], expected)]


def _is_row(row: Tensor, expected: Tensor) -> bool:
    """Whether a row is the expected one, or that one padded with zeros."""
    length = len(expected)
    if row.ndim != expected.ndim or len(row) < length or row.shape[1:] != expected.shape[1:]:
        return False
    return torch.equal(row[:length], expected.to(row.device, row.dtype)) and not row[length:].any()


class FrameFinder:
    """Finds the frames' rows in a denoiser call's embeddings and extends their plan to the whole batch.

    Pipelines put unconditional rows first, last, or into a call of their own, and repeat rows per image. The rows of
    an embedding that was seen before are remembered by the memory it occupies, so that no step waits for a GPU.

    The first step's calls tell the frames' places. A later call with embeddings never seen before (a callback changed
    them) has its frames where the call of its turn in the first step had them.

    Attributes:
        by_place: the last call's rows were known by place, so their embeddings may be anything.
    """

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._argument: tuple[str, ...] = (EMBEDDINGS,)  # another one once the frames were found in it
        self._seen: dict[tuple[Any, ...], tuple[Embeddings, int | None]] = {}
        self._plans: dict[tuple[int, int, torch.device], InterpolationPlan] = {}
        self._first_alone: tuple[Any, ...] | None = None
        self._searched = False
        self._found = False
        self._layout: list[tuple[int, int | None]] = []  # of the first step's calls: their rows and the frames' first
        self._others: set[tuple[Any, ...]] = set()  # embeddings of the first step that are not the frames'
        self._turn = 0
        self._found_by_value = self._found_by_place = False
        self.by_place = False

    def start_run(self) -> None:
        """A run of denoising steps begins: its embeddings may be other tensors than the last run's."""
        self._first_alone = None
        self._found = False
        self._argument = (EMBEDDINGS,)
        self._layout, self._others = [], set()

    def start_step(self) -> None:
        """A denoising step begins: its calls come in the order of the first step's."""
        self._turn = 0
        self._found_by_value = self._found_by_place = False

    def embeddings_in(self, arguments: Mapping[str, Any]) -> Embeddings | None:
        """The embeddings of a call: the argument, or entry of a dictionary among them, with the frames' rows.

        Without these, what is called as usual; None means that there is no such argument.
        """
        if not self._found:
            candidates = sorted(embeddings_among(arguments), key=lambda named: named[0] != self._argument)
            for argument, embeds in candidates:
                if self._search(embeds) is not None:
                    self._argument = argument
                    return embeds
        found: Any = arguments
        for name in self._argument:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, Tensor) or _is_list_of_tensors(found) else None

    def find(self, embeds: Embeddings | None, first_step: bool) -> int | None:
        """Where the frames' rows start in a call with these embeddings; None means it has none of them.

        Args:
            embeds: (B, L, C) of the call, or B of (L, C); None means that it has none.
            first_step: in the first step two calls must not both be the frames'.

        Raises:
            RowsError: more than one block of rows has the frames' embeddings, or a later step has neither them nor
                rows in their place.
        """
        self._searched = True
        if embeds is None:
            self._layout += [(0, None)] if first_step else []
            self._turn += 1
            self.by_place = False
            return None
        key = _identity(embeds)
        if key not in self._seen:
            while len(self._seen) >= REMEMBERED:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = (embeds, self._search(embeds))  # holds the tensor, so that its memory is not given away
        start = self._seen[key][1]
        if first_step:
            self._layout.append((len(embeds), start))
            if start is None:
                self._others.add(key)
            elif len(embeds) == self.rows:
                self._check_alone(key)
        self.by_place = start is None and not first_step and key not in self._others and not self._found_by_value
        if self.by_place:
            start = self._place(len(embeds))
        elif start is not None:
            self._check_in_place(first_step)
        self._turn += 1
        self._found = self._found or start is not None
        return start

    def check_found(self) -> None:
        """Raise RowsError if calls were searched, but none of this run had the frames."""
        if self._searched and not self._found:
            raise RowsError(
                "no denoiser call had the frames' embeddings, so nothing was interpolated; Frames.prompt_embeds must "
                "be the very prompt_embeds of the stock call, one row per frame, and num_images_per_prompt the same"
            )

    def plan(self, start: int, batch: int, device: torch.device) -> InterpolationPlan:
        """The plan of `batch` rows: the frames' from `start` on, others plain; each image k a sequence of its own."""
        key = (start, batch, device)
        if key not in self._plans:
            frames, images = len(self._frames.plan), self._frames.num_images_per_prompt
            # image by image as `concat` stacks them, then frame by frame as the pipelines repeat them
            stacked = InterpolationPlan.concat([self._frames.plan] * images)
            order = [image * frames + frame for frame in range(frames) for image in range(images)]
            interleaved = stacked.select(order, bank=order)
            parts = [
                InterpolationPlan.plain(start),
                interleaved.to("cpu"),
                InterpolationPlan.plain(batch - start - self.rows),
            ]
            self._plans[key] = InterpolationPlan.concat(parts).to(device)
        return self._plans[key]

    @property
    def rows(self) -> int:
        """How many rows the frames take: frames times images."""
        return len(self._frames.plan) * self._frames.num_images_per_prompt

    def endpoint_rows(self, batch: int) -> list[int]:
        """Rows of the first and the last frame in a call of whole blocks of frames, conditional or not; else none."""
        images, last = self._frames.num_images_per_prompt, len(self._frames.plan) - 1
        if batch % self.rows:
            return []
        return [row for row in range(batch) if row % self.rows // images in (0, last)]

    def _search(self, embeds: Embeddings) -> int | None:
        expected, images = self._frames.embeddings(), self._frames.num_images_per_prompt
        if images > 1 and isinstance(expected, Tensor):
            expected = expected.repeat_interleave(images, dim=0)
        elif images > 1:
            expected = [row for row in expected for _ in range(images)]
        starts = find_rows(embeds, expected)
        if len(starts) > 1:
            raise RowsError(
                "the unconditional embeddings equal the conditional ones, so the frames cannot be told from them; "
                "use another negative prompt, or no guidance (guidance_scale=1)"
            )
        return starts[0] if starts else None

    def _place(self, rows: int) -> int | None:
        """The frames' first row in a call whose embeddings were never seen, by its turn; None means none are there."""
        calls = [layout for layout in self._layout if layout[1] is not None]
        if not calls:
            return None
        known, start = self._layout[self._turn % len(self._layout)]
        if known not in (0, rows):
            raise RowsError(
                f"a denoiser call after the first step has {rows} rows of embeddings that are not the frames', where "
                f"that step's had {known}, so the frames cannot be told; a callback may change the embeddings, not "
                "their number"
            )
        self._found_by_place = self._found_by_place or start is not None
        return start

    def _check_in_place(self, first_step: bool) -> None:
        if self._found_by_place:
            raise RowsError(
                "a call with changed embeddings stands where the frames were, and another call of that step has the "
                "frames' embeddings; guidance must be on from the first step on, or the embeddings stay as they are"
            )
        self._found_by_value = not first_step

    def _check_alone(self, key: tuple[Any, ...]) -> None:
        """Conditional and unconditional calls apart: both must not look the same."""
        if self._first_alone is None:
            self._first_alone = key
        if self._first_alone != key:
            raise RowsError(
                "two different calls of the first step have the frames' embeddings; the negative prompt must differ "
                "from the prompts, or leave guidance off"
            )


def embeddings_among(arguments: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What may be embeddings among a call's arguments, and among dictionaries in these, with their names."""
    for name, value in arguments.items():
        is_tensor = isinstance(value, Tensor) and value.ndim > 1 and value.is_floating_point() and len(value) > 0
        if isinstance(value, Mapping):
            yield from embeddings_among(value, (*path, name))
        elif is_tensor or _is_list_of_tensors(value):
            yield (*path, name), value


def _is_list_of_tensors(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Tensor) for item in value)


def _identity(tensor: Embeddings) -> tuple[Any, ...]:
    """What tells a tensor's contents from another's without reading them, while both are alive."""
    if not isinstance(tensor, Tensor):
        return tuple(map(_identity, tensor))
    version = -1 if tensor.is_inference() else tensor._version
    return (
        tensor.untyped_storage().data_ptr(),
        tensor.storage_offset(),
        tuple(tensor.shape),
        tensor.stride(),
        tensor.dtype,
        tensor.device,
        version,
    )

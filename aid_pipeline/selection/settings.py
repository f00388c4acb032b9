"""Settings of the choice of coefficients by what the frames look like; imports neither torch nor SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import SelectionError

METHODS = ("dynamic", "bayes")
PLACINGS = ("even", "halves")
EXPLORED_PER_FRAME = 1.5  # arXiv 2403.17924, appendix D
MIN_GAP = 0.01
FEWEST = 3  # frames of a sequence that leave anything to choose


@dataclass(frozen=True)
class Selection:
    """How to choose the coefficients of a sequence by what its frames look like.

    Args:
        method: "dynamic" denoises half as many frames again and keeps the most uniform ones (appendix D); "bayes" tries
            Beta priors on whole sequences and keeps the smoothest (appendix F; extra `select`; about twenty times the
            cost).
        distance: how images are compared: a name that `distances.distance` takes, or a callable.
        explore: dynamic: frames to denoise in all, endpoints included; None means 1.5 for each frame kept, rounded
            down.
        min_gap: dynamic: least distance of two frames in t; None means 0.01, or less where many frames need it.
        placing: dynamic: where new frames go. "even": to where the measured distances put evenly spaced frames, once
            there are more than two to go by. "halves", the paper's way: into the widest gaps, where the fitted Beta
            CDF is halfway.
        per_round: dynamic: most new frames between two measurements. None means two rounds, or as few as fit denoiser
            calls; the cheapest. A number starts from three frames and adds at most half as many as there are: more
            rounds, each a run of the denoiser over few frames, and more uniform sequences. 1 is the paper's order, one
            at a time.
        steps: bayes: sequences to try after the nine probes.

    Raises:
        SelectionError: an unknown method or a value out of range.
    """

    method: str = "dynamic"
    distance: str | Callable[..., Any] = field(
        default="miniature", metadata={"help": "Of --select: miniature, clip:FOLDER, dino:FOLDER or lpips:FILE."}
    )
    explore: int | None = field(
        default=None, metadata={"help": "Of --select dynamic: frames to denoise and choose from."}
    )
    min_gap: float | None = field(
        default=None, metadata={"help": "Of --select dynamic: least gap between frames in t."}
    )
    placing: str = "even"
    per_round: int | None = field(
        default=None,
        metadata={"help": "Of --select dynamic: most new frames a round, such as 8: slower and more uniform."},
    )
    steps: int = 15

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SelectionError(f"select must be one of {', '.join(METHODS)}, got {self.method!r}")
        if not isinstance(self.distance, str) and not callable(self.distance):
            raise SelectionError(f"distance must be a name or a callable, got {self.distance!r}")
        if self.placing not in PLACINGS:
            raise SelectionError(f"placing must be one of {', '.join(PLACINGS)}, got {self.placing!r}")
        for name, least in (("explore", FEWEST), ("per_round", 1), ("steps", 0)):
            value = getattr(self, name)
            if value is None and name != "steps":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SelectionError(f"{name} must be a whole number >= {least}, got {value!r}")
        gap = self.min_gap
        if gap is not None and (isinstance(gap, bool) or not isinstance(gap, int | float) or not 0 < gap < math.inf):
            raise SelectionError(f"min_gap must be a positive number, got {gap!r}")
        if self.method == "bayes":
            given = [name for name in ("explore", "min_gap", "per_round") if getattr(self, name) is not None]
            if given:
                raise SelectionError(f'{given[0]} is of method "dynamic"; "bayes" does not read it, leave it out')

    def to_json(self) -> dict[str, Any]:
        """The fields by name; a callable `distance` is no JSON, and the caller's to refuse."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Selection:
        """The settings that `to_json` wrote; fields may be left out.

        Raises:
            TypeError: a field of another name.
            SelectionError: as the class itself.
        """
        return cls(**value)

    def check(self, frames: int) -> None:
        """Check that these settings suit a sequence of so many frames.

        Raises:
            SelectionError: fewer than 3 frames, fewer explored than kept, or a `min_gap` that leaves no room for them.
        """
        if frames < FEWEST:
            raise SelectionError(f"with frames={frames} there is nothing to select; use frames >= {FEWEST}")
        if self.method != "dynamic":
            return
        explored = self.explored(frames)
        if explored < frames:
            raise SelectionError(f"{frames} frames cannot be chosen from explore={explored}; explore at least {frames}")
        widest = 1 / (2 * (explored - 2))  # of the most uniform gaps, each of which must leave room for one more frame
        if self.gap(frames) > widest:
            raise SelectionError(
                f"min_gap={self.min_gap:g} leaves no room for {explored} explored frames; use at most {widest:.4g}"
            )

    def explored(self, frames: int) -> int:
        """Frames denoised in all for `frames` kept."""
        return self.explore if self.explore is not None else math.floor(EXPLORED_PER_FRAME * frames)

    def gap(self, frames: int) -> float:
        """The least gap in t; by default at most a quarter of an even one."""
        return self.min_gap if self.min_gap is not None else min(MIN_GAP, 1 / (4 * (self.explored(frames) - 1)))


def as_selection(select: Any) -> Selection | None:
    """The `select` argument as settings: None, a method's name or a `Selection`.

    Raises:
        SelectionError: anything else.
    """
    if select is None or isinstance(select, Selection):
        return select
    if not isinstance(select, str):
        raise SelectionError(f"select must be one of {', '.join(METHODS)} or a Selection, got {select!r}")
    return Selection(method=select)

"""Running a choice: from an implementation's name and configuration to its function."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .inputs import AttentionInputs
from .tuning.choice import Choice
from .tuning.routes import sdpa_route

Runner = Callable[[str, Choice, AttentionInputs], Tensor]


def run_choice(mode: str, choice: Choice, inputs: AttentionInputs) -> Tensor:
    """The result of a call by the implementation, configuration or route of a choice."""
    return RUNNERS[choice.implementation](mode, choice, inputs)


def _triton(mode: str, choice: Choice, inputs: AttentionInputs) -> Tensor:
    # Triton is imported here and not before
    from .impl.triton import forward

    if choice.config is not None:
        return forward.attend(mode, inputs, choice.config, choice.mix)
    return {"outer": forward.outer_attention, "inner": forward.inner_attention}[mode](inputs)


def _hopper(mode: str, choice: Choice, inputs: AttentionInputs) -> Tensor:
    # Gluon is imported here and not before; `support` refuses any other mode
    from .impl.hopper import forward

    return forward.outer_attention(inputs)


def _sdpa(mode: str, choice: Choice, inputs: AttentionInputs) -> Tensor:
    from .impl import sdpa, sdpa_concatenated

    if (choice.route or sdpa_route(mode, inputs)) == "concatenated" and mode == "outer":
        return sdpa_concatenated.outer_attention(inputs)
    return {"outer": sdpa.outer_attention, "inner": sdpa.inner_attention}[mode](inputs)


def _reference(mode: str, choice: Choice, inputs: AttentionInputs) -> Tensor:
    from .impl import reference

    return {"outer": reference.outer_attention, "inner": reference.inner_attention}[mode](inputs)


RUNNERS: dict[str, Runner] = {"triton": _triton, "hopper": _hopper, "sdpa": _sdpa, "reference": _reference}

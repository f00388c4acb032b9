"""State of one denoiser's rebound attention: the context that its layers read while they run. Nothing is global."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from aid_kernels import InterpolationPlan

from ..config import AIDConfig
from .kv_bank import LayerCache
from .masks import key_mask_of
from .operator_call import OperatorCall, under_autocast

ATTRIBUTE = "_aid_state"


class Handle(Protocol):
    """What a denoiser's state asks of the handle in force."""

    thread: threading.Thread

    def intact(self) -> bool:
        """Whether the rebound processors are still in place."""

    def replace(self) -> None:
        """Remove it because another handle takes its place."""


@dataclass
class AttentionContext:
    """How attention runs in one chunk of a denoiser call.

    Args:
        plan: sources and weights of the chunk's rows; None means plain attention, left to the stock call.
        config: mode, fuse_self and impl.
        saved_rows: so many rows from the first on leave their keys and values in every layer's bank.
        reads_bank: the plan's sources are bank entries, not rows of this chunk.
        skips_linear_cross: leave cross-attention plain where that is the same (see `layers.py`).
    """

    plan: InterpolationPlan | None
    config: AIDConfig
    saved_rows: int = 0
    reads_bank: bool = False
    skips_linear_cross: bool = False


class DenoiserState:
    """What the rebound processors of one denoiser share; kept with it from the first apply on.

    It stays when interpolation is removed, because compiled graphs are tied to the classes in `rebound`: applying again
    with other frames or coefficients then compiles nothing.

    Attributes:
        handle: the handle in force, if any.
        current: context of the running chunk; None means that attention is stock.
        layer: the attention layer that is running.
        lock: held while a handle is being put on.
        rebound: the classes of `rebinding.py`, by original class and role.
    """

    def __init__(self) -> None:
        self.handle: Handle | None = None
        self.lock = threading.Lock()
        self.current: AttentionContext | None = None
        self.layer: LayerCache | None = None
        self.rebound: dict[Any, type] = {}

    @staticmethod
    def of(denoiser: nn.Module) -> DenoiserState:
        """The state of a denoiser, created by the first call; atomic, so that two threads get the same one."""
        state: DenoiserState = denoiser.__dict__.setdefault(ATTRIBUTE, DenoiserState())
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> DenoiserState:
        return DenoiserState()  # a copied or pickled denoiser starts without interpolation

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return DenoiserState, ()

    def enter(self, layer: LayerCache) -> None:
        """A layer's processor starts."""
        self.layer = layer
        layer.enter()

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, scale: float | None
    ) -> Tensor | None:
        """One attention call of the current layer; None where it is plain and the stock call shall do it.

        Saves the endpoints' keys and values where the context asks for it.

        Args: as `F.scaled_dot_product_attention`, (B, H, S, D).
        """
        context, layer = self.current, self.layer
        assert context is not None
        assert layer is not None
        index = layer.calls
        layer.calls = index + 1
        query, key, value = under_autocast(query, key, value)
        mask = key_mask_of(attn_mask, query, key)
        if context.saved_rows:
            layer.save(key, value, mask, context.saved_rows)
        if context.plan is None:
            return None
        bank, bank_mask = None, mask
        if context.reads_bank:
            endpoints = layer.load(index)
            bank, bank_mask = (endpoints.key, endpoints.value), endpoints.mask
        call = OperatorCall(query, key, value, context.plan, context.config, bank, mask, bank_mask, scale)
        out = call.attend()
        if not torch.compiler.is_compiling() and len(layer.served) <= index:
            layer.served.append(call.explain())  # after the call, which may have measured what serves it
        return out

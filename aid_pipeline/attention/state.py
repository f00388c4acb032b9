"""State of one denoiser's rebound attention: the context that its layers read while they run. Nothing is global."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from aid_kernels import MAX_HEAD_DIM, InterpolationPlan

from ..config import AIDConfig
from ..errors import UnsupportedAttentionError
from .kv_bank import LayerCache
from .masks import operator_mask
from .operator_call import OperatorCall, padded_head_dim, under_autocast
from .row_groups import fold, fold_mask, groups_of, unfold

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
        rows: how many the chunk has.
        config: mode, fuse_self and impl.
        saved_rows: so many rows from the first on leave their keys and values in every layer's bank.
        reads_bank: the plan's sources are bank entries, not rows of this chunk.
        skips_linear_cross: leave cross-attention plain where that is the same (see `layers.py`).
    """

    plan: InterpolationPlan | None
    config: AIDConfig
    rows: int = 0
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
        biased: as `masks.operator_mask`, of the call that is running.
        lock: held while a handle is being put on.
        rebound: the classes of `rebinding.py`, by original class and role.
    """

    def __init__(self) -> None:
        self.handle: Handle | None = None
        self.lock = threading.Lock()
        self.current: AttentionContext | None = None
        self.layer: LayerCache | None = None
        self.biased = False
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
        groups = groups_of(query.shape[0], len(context.plan) if context.plan is not None else context.rows)
        if groups is None:
            layer.leave_plain(f"called with {query.shape[0]} rows, which the frames' rows do not divide into")
            return None
        index = layer.calls
        layer.calls = index + 1
        query, key, value = under_autocast(query, key, value)
        self._check_head_dim(max(query.shape[3], value.shape[3]), layer)
        mask = operator_mask(attn_mask, query, key, biased=self.biased, layer=layer.name)
        if groups > 1:
            mask = fold_mask(mask, groups, query.shape[1])
            query, key, value = (fold(part, groups) for part in (query, key, value))
        if context.saved_rows:
            layer.save(key, value, mask, context.saved_rows)
        if context.plan is None:
            return None
        bank, bank_mask = None, mask
        if context.reads_bank:
            endpoints = layer.load(index)
            bank, bank_mask = (endpoints.key, endpoints.value), endpoints.mask
        if mask is not None and mask.ndim == 4 and context.config.impl == "triton":
            raise UnsupportedAttentionError(
                f"layer {layer.name} has a mask that differs by query or group, or a bias, which impl='triton' "
                "does not serve; use impl='auto' or 'sdpa'"
            )
        call = OperatorCall(query, key, value, context.plan, context.config, bank, mask, bank_mask, scale)
        out = call.attend()
        if not torch.compiler.is_compiling() and len(layer.served) <= index:
            layer.served.append(call.explain())  # after the call, which may have measured what serves it
        return unfold(out, groups) if groups > 1 else out

    @staticmethod
    def _check_head_dim(size: int, layer: LayerCache) -> None:
        if padded_head_dim(size) > MAX_HEAD_DIM:
            raise UnsupportedAttentionError(
                f"layer {layer.name} has heads of {size} channels; the operator serves up to {MAX_HEAD_DIM}"
            )

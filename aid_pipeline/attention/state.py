"""What the rebound attention of one denoiser reads while it runs. One object per denoiser, nothing global."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aid_kernels import InterpolationPlan, explain

from ..config import AIDConfig
from ..errors import RowsError, UnsupportedAttentionError
from .kv_bank import Entry, Layer
from .operator_call import interpolated_attention, key_mask_of, under_autocast

if TYPE_CHECKING:
    from .apply import AIDHandle

ATTRIBUTE = "_aid_state"


@dataclass
class Pass:
    """One run of the denoiser over some rows.

    Args:
        plan: sources and weights of these rows; None: plain attention, left to the stock call.
        config: mode, fuse_self and impl.
        saved_rows: so many rows from the first on leave their keys and values in every layer's bank.
        reads_bank: the plan's sources are bank entries, not rows of this run.
        skips_linear_cross: leave cross-attention plain where that is the same (see `layers.py`).
    """

    plan: InterpolationPlan | None
    config: AIDConfig
    saved_rows: int = 0
    reads_bank: bool = False
    skips_linear_cross: bool = False


class DenoiserState:
    """The plan holder that the rebound processors of one denoiser share; kept with it from the first apply on.

    It stays when interpolation is removed, because compiled graphs are tied to the classes in `rebound`: applying again
    with other frames or coefficients then compiles nothing.

    Attributes:
        handle: the handle in force, if any.
        current: the running pass; None: attention is stock.
        layer: the attention layer that is being run.
        lock: held while a handle is being put on.
        rebound: the classes made by `rebinding.py`, by original class and role.
    """

    def __init__(self) -> None:
        self.handle: AIDHandle | None = None
        self.lock = threading.Lock()
        self.current: Pass | None = None
        self.layer: Layer | None = None
        self.rebound: dict[Any, type] = {}

    @staticmethod
    def of(denoiser: nn.Module) -> DenoiserState:
        """The state of a denoiser, made at the first call; atomic, so that two threads get the same one."""
        state: DenoiserState = denoiser.__dict__.setdefault(ATTRIBUTE, DenoiserState())
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> DenoiserState:
        return DenoiserState()  # a copied or pickled denoiser starts without interpolation

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return DenoiserState, ()

    def enter(self, layer: Layer) -> None:
        """A layer's processor starts."""
        self.layer = layer
        layer.calls = 0
        layer.saved = []

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, scale: float | None
    ) -> Tensor | None:
        """One attention call of the current layer; None where it is plain and the stock call shall do it.

        Args: as `F.scaled_dot_product_attention`, (B, H, S, D). Files the bank's rows on the way.
        """
        current, layer = self.current, self.layer
        assert current is not None
        assert layer is not None
        call = layer.calls
        layer.calls = call + 1
        query, key, value = under_autocast(query, key, value)
        mask = key_mask_of(attn_mask, query, key)
        if current.saved_rows:
            rows = current.saved_rows
            # copies: a view would keep the keys and values of all rows of this run, or all of a fused projection
            saved_mask = None if mask is None else mask[:rows].clone()
            layer.saved.append(Entry(key[:rows].clone(), value[:rows].clone(), saved_mask))
        if current.plan is None:
            return None
        bank, bank_mask = None, mask
        if current.reads_bank:
            if call >= len(layer.bank):
                raise RowsError(
                    f"layer {layer.name} has no endpoint keys and values for attention call {call}; the run that left "
                    "them had it plain. Runs that share their endpoints must start with one that interpolates it"
                )
            entry = layer.bank[call]
            bank, bank_mask = (entry.key, entry.value), entry.mask
        config = current.config
        if not torch.compiler.is_compiling() and len(layer.served) <= call:
            layer.served.append(
                explain(
                    query,
                    key,
                    value,
                    current.plan,
                    config.fuse_self,
                    mode=config.mode,
                    bank=bank,
                    key_mask=mask,
                    bank_mask=bank_mask,
                    scale=scale,
                    impl=config.impl,
                )
            )
        return interpolated_attention(
            query,
            key,
            value,
            current.plan,
            mode=config.mode,
            fuse_self=config.fuse_self,
            impl=config.impl,
            bank=bank,
            key_mask=mask,
            bank_mask=bank_mask,
            scale=scale,
        )


def refuse_unsupported(dropout_p: float, is_causal: bool, enable_gqa: bool, extra: dict[str, Any]) -> None:
    """Raise UnsupportedAttentionError for what interpolated attention does not do."""
    for name, value in {"dropout_p": dropout_p, "is_causal": is_causal, "enable_gqa": enable_gqa, **extra}.items():
        if value:
            raise UnsupportedAttentionError(
                f"interpolated attention does not take {name}={value!r}; remove AID for this model"
            )
